"""The annealing law with terms in the model size."""

from tests.reference import power
from tests.reference.lr_annealing import area


def loss(values, lr, step, facts, traces):
    size = facts["model_params"]
    gained = values["C"] * size ** -values["gamma"] * area(lr, values["decay"], 0, step)
    floor = values["B"] * size ** -values["beta"]
    return power.loss(values, lr, step, facts, traces) + floor - gained
