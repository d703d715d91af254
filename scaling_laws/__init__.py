"""scaling-laws: what a learning-rate schedule will cost in loss, before the compute is spent."""

__version__ = "0.1.0"
