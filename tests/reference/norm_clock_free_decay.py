"""The norm clock with a weight decay of its own."""

from tests.reference.norm_clock import loss_of_norms, norms


def loss(values, lr, step, facts, traces):
    m = norms(lr, values["weight_decay"], values["initial_norm"])
    return loss_of_norms(values, lr, m, step)
