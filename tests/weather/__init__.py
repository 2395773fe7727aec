"""The whole suite where other things are fast and slow: ``make test-weather``.

A test that depends on which of two things is faster passes on one machine only. `weathers`
makes others of this one; `run` runs the suite in each, several times, in random order.
"""
