"""What happens to a job in the database: functions over the stored classes.

put -> claim -> complete. Each works in the caller's transaction. Nothing here is pickled.
"""
