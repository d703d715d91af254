"""AutoLRS: an exponential in steps."""

import math


def loss(values, lr, step, facts, traces):
    return values["L0"] + values["A"] * math.exp(-values["rate"] * step)
