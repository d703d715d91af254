"""Published parameters, for golden tests and benchmarks."""

# thu-yao-01-luo/MultiPowerLaw (arXiv 2503.12811), config; all digits as printed there
MULTI_POWER_25M = {
    "L0": 3.04045406,
    "A": 0.52468604,
    "alpha": 0.50786857,
    "B": 363.78751622,
    "C": 2.06560812,
    "beta": 0.58279013,
    "gamma": 0.64142257,
}
MULTI_POWER_100M = {
    "L0": 2.6514477,
    "A": 0.60115152,
    "alpha": 0.45295811,
    "B": 437.9464276,
    "C": 2.13245612,
    "beta": 0.59785199,
    "gamma": 0.65523644,
}
