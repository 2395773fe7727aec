"""Storages: what each of them can, what its errors mean, and what it gets wrong."""
