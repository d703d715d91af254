"""Constants that several parts of the inference share."""

__all__ = ["BLOCKS", "MISFIT", "NORMAL_90"]

BLOCKS = 10  # points that one run counts as, because residuals within a run are autocorrelated
MISFIT = 1.5e-3  # in log loss: lower bound on a law's own error, however well it fits a few runs
NORMAL_90 = 1.6448536  # half-width of a 90 % interval of a normal, in standard deviations
