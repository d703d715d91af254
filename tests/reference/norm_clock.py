"""docs/norm_clock.md, step by step: the norm before each update, then rates, then the dense sum."""

import numpy as np


def norms(lr, weight_decay, start):
    """Squared norms before every update, over that of equilibrium at LR 1e-3, decay 0.1."""
    weight_decay = np.broadcast_to(weight_decay, lr.shape)
    n, seen = start * 1e-3 / 0.2, []
    for rate, decay in zip(lr, weight_decay, strict=True):
        seen.append(n / (1e-3 / 0.2))
        if rate * decay > 1e-9:
            # the push of the updates, fading within the step
            n = n * np.exp(-2 * rate * decay) - rate / (2 * decay) * np.expm1(-2 * rate * decay)
        else:
            n = n + rate**2
    return np.array(seen)


def loss_of_norms(values, lr, m, step):
    clock, gain, seen = [], [], 0.0
    for rate, norm in zip(lr[: step + 1] / 1e-3, m, strict=False):
        on = rate > 0
        tick = (rate / np.sqrt(norm)) ** values["clock_exponent"]
        level = (rate / np.sqrt(norm)) ** values["gain_exponent"]
        new = 1e-4 * (rate / np.sqrt(norm)) ** 0.25 if on else 0.0
        level *= (seen + 0.5 * new + 0.03) ** values["gain_growth"]
        seen += new
        clock.append((clock[-1] if clock else 0.0) + (1e-3 * tick if on else 0.0))
        gain.append(level if on else 0.0)
    average, before, level = 0.0, 0.0, 0.0
    for end, new in zip(clock, gain, strict=True):
        felt = 1.0 - (1.0 + values["C"] * (clock[-1] - before)) ** -values["beta"]
        average += (new - level) * felt
        before, level = end, new
    t = max(clock[-1], 1e-9)
    falling = t ** -values["alpha"] - values["early"] * np.exp(-t / 1.4)
    data = values["data"] * max(seen, 1e-9) ** -0.6
    gained = values["B"] * (1.0 + values["gain_progress"] * falling) * average
    return values["L0"] + values["A"] * (falling + data) + gained


def loss(values, lr, step, facts, traces):
    decay = traces.get("weight_decay", facts.get("weight_decay"))
    return loss_of_norms(values, lr, norms(lr, decay, values["initial_norm"]), step)
