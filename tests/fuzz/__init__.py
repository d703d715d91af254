"""Mutated inputs and faults: nothing wrong is accepted, nothing hangs, nothing is lost.

`python -m tests.fuzz` runs a campaign and writes its table; see `__main__`.
"""
