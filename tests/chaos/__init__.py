"""The proof that no failure loses a job or commits its effects twice.

Each module of `chaos.scenarios` does something bad to worker processes, their server or
their disk while jobs run, and then the books are checked: `chaos.books`.
"""
