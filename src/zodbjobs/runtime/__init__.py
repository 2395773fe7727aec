"""What lives in a process and is never pickled: workers and what they consist of."""
