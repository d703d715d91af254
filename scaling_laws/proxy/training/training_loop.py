"""Train proxy models, window by window, and log their curves.

Batches are a pure function of (seed, step): two runs of a set that share a seed see the same text
in the same order, whatever their schedules. A `Position` is all there is to know between two
windows: the same position goes on in the same way, to the last bit.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from numpy.typing import NDArray

from scaling_laws.common import ProxyError
from scaling_laws.proxy.training import compiled_steps
from scaling_laws.proxy.training.batches import batch_windows, epoch_of
from scaling_laws.proxy.training.proxy_config import LogInterval, ProxyConfig

__all__ = [
    "COLUMNS",
    "Position",
    "TrainedCurve",
    "advance",
    "begin",
    "curve_of",
    "divergence",
    "train_curve",
]

COLUMNS = (
    "step",
    "lr",
    "loss",
    "train_loss",
    "tokens",
    "epoch",
    "grad_norm",
    "update_norm",
    "param_norm",
    *(f"{group}_norm" for group in compiled_steps.GROUPS),
    "tokens_per_second",
)
DIVERGED = 2.0  # times what a uniform guess costs
StepCallback = Callable[[int, float], None]


@dataclass(frozen=True, eq=False)
class TrainedCurve:
    """A logged run; every column has shape (rows,).

    Attributes:
        step: the update a row follows, 0-based, int64.
        lr: learning rate of that update.
        loss: validation loss after that update, nats per token.
        train_loss: mean loss of the batches since the row before, each before its update.
        tokens: predicted by all updates so far, int64.
        epoch: the same over the tokens of the train part.
        grad_norm: mean global gradient norm over the same updates, before clipping.
        update_norm: mean L2 norm of what an update adds to the matrices, over the same updates.
        param_norm: L2 norm of all matrices together after that update.
        embedding_norm: of the embedding alone.
        hidden_norm: of the matrices between embedding and head.
        head_norm: of the head alone, zero where the embedding is the head.
        tokens_per_second: tokens predicted since the row before over wall time, measurements and
            compilation included: the one column that another training does not repeat.
        averages: validation losses of averaged weights, by column name: ``loss_ema_0.99``,
            ``loss_merge_8``.
        seconds: wall time of the training.
    """

    step: NDArray[np.int64]
    lr: NDArray[np.float64]
    loss: NDArray[np.float64]
    train_loss: NDArray[np.float64]
    tokens: NDArray[np.int64]
    epoch: NDArray[np.float64]
    grad_norm: NDArray[np.float64]
    update_norm: NDArray[np.float64]
    param_norm: NDArray[np.float64]
    embedding_norm: NDArray[np.float64]
    hidden_norm: NDArray[np.float64]
    head_norm: NDArray[np.float64]
    tokens_per_second: NDArray[np.float64]
    averages: dict[str, NDArray[np.float64]] = field(default_factory=dict)
    seconds: float = 0.0

    def columns(self) -> dict[str, NDArray[Any]]:
        """All columns by name, in the order in which they are written."""
        named = {name: getattr(self, name) for name in COLUMNS}
        speed = named.pop("tokens_per_second")
        return named | self.averages | {"tokens_per_second": speed}


class Position(NamedTuple):
    """A run, or a fleet of them with a leading axis of members, between two windows.

    Attributes:
        step: updates done.
        state: what they led to.
        snapshots: parameters at the last logged steps, the newest last, for merging.
        rows: of shape (members, rows, columns), float64: `COLUMNS` and then the averages.
        seconds: wall time so far.
    """

    step: int
    state: compiled_steps.State
    snapshots: tuple[Any, ...]
    rows: NDArray[np.float64]
    seconds: float


def train_curve(config: ProxyConfig, progress: StepCallback | None = None) -> TrainedCurve:
    """Train a model from scratch and log its validation loss.

    Args:
        config: what to train.
        progress: called with (step, loss) after every logged step.

    Returns:
        The curve, with a row after every `config.every` updates and after the last.

    Raises:
        ProxyError: if the loss stops being a number or leaves all bounds, naming the step.
    """
    held_out = jnp.asarray(config.validation_windows)
    position = begin([config])
    for window in config.log_intervals():
        position, losses = advance([config], position, window, held_out)
        fault = divergence(config, window, losses[0], position.rows[0, -1, 2])
        if fault is not None:
            raise ProxyError(fault)
        if progress is not None:
            progress(window.end - 1, float(position.rows[0, -1, 2]))
    return curve_of(config, position.rows[0], position.seconds)


def begin(configs: Sequence[ProxyConfig], fleet: bool = False) -> Position:
    """Before the first update of one run, or of a fleet that shares `compiled_steps.shapes_of`."""
    keys = [jax.random.fold_in(jax.random.key(each.seed), 0) for each in configs]
    state = compiled_steps.initialize(
        _stack(keys, fleet), compiled_steps.shapes_of(configs[0]), fleet=fleet
    )
    width = len(COLUMNS) + len(configs[0].ema) + len(configs[0].merge)
    return Position(0, state, (), np.empty((len(configs), 0, width)), 0.0)


def advance(
    configs: Sequence[ProxyConfig],
    position: Position,
    window: LogInterval,
    held_out: jax.Array,
    fleet: bool = False,
) -> tuple[Position, NDArray[np.float32]]:
    """Train through a window and measure at its end.

    Args:
        configs: one for each member, one without `fleet`; all share their shapes.
        position: at the window's first step; its state is used up.
        window: the next of `ProxyConfig.windows`.
        held_out: tokens of shape (chunks, windows, context + 1).
        fleet: whether the position has a leading axis of members.

    Returns:
        The position after it; and the losses of all batches, of shape (members, updates).
    """
    clock = time.perf_counter()
    config, shapes = configs[0], compiled_steps.shapes_of(configs[0])
    numbers = np.arange(window.first, window.end, dtype=np.int64)
    seen = window.seen + window.batch * np.arange(len(numbers), dtype=np.int64)
    texts = [
        batch_windows(
            each.corpus,
            numbers,
            seen,
            seed=each.seed,
            batch=window.batch,
            context=each.size.context,
            sampling=each.sampling,
        )
        for each in configs
    ]
    rates = [each.schedule.lr[window.first : window.end].astype(np.float32) for each in configs]
    decays = [np.float32(each.weight_decay) for each in configs]
    state, logged = compiled_steps.update(
        position.state,
        *(jnp.asarray(_stack(part, fleet)) for part in (rates, texts, decays)),
        shapes=shapes,
        fleet=fleet,
    )
    snapshots = position.snapshots
    if config.merge:
        copy = jax.tree.map(jnp.copy, state.parameters)  # the next update uses the state up
        snapshots = (*snapshots, copy)[-max(config.merge) :]
    weights = [state.parameters, *state.averages, *_merged(snapshots, config.merge)]
    measured = [compiled_steps.evaluate(each, held_out, shapes, fleet=fleet) for each in weights]
    table = np.asarray(logged).reshape(len(configs), -1, 3)
    means_of = table.astype(np.float64).mean(axis=1)
    losses = np.stack([np.asarray(each, np.float64).reshape(-1) for each in measured], axis=1)
    sizes = np.asarray(compiled_steps.norms(state.parameters, fleet=fleet), np.float64).reshape(
        -1, 4
    )
    seconds = time.perf_counter() - clock
    fresh = window.batch * len(numbers) * config.size.context
    done = window.seen * config.size.context + fresh
    rows = []
    for each, means, loss, size in zip(configs, means_of, losses, sizes, strict=True):
        before = (numbers[-1], each.schedule.lr[window.end - 1], loss[0], means[0])
        place = (done, epoch_of(each.corpus, done, each.size.context))
        rows.append((*before, *place, *means[1:], *size, fresh / seconds, *loss[1:]))
    table_of_rows = np.concatenate([position.rows, np.asarray(rows)[:, None, :]], axis=1)
    after = Position(window.end, state, snapshots, table_of_rows, position.seconds + seconds)
    return after, table[:, :, 0]


def curve_of(config: ProxyConfig, rows: NDArray[np.float64], seconds: float) -> TrainedCurve:
    """The curve of one member's rows, of shape (rows, columns)."""
    columns = dict(zip(COLUMNS, rows.T, strict=False))
    names = [*(f"loss_ema_{decay:g}" for decay in config.ema)]
    names += [f"loss_merge_{count}" for count in config.merge]
    averages = dict(zip(names, rows.T[len(COLUMNS) :], strict=True))
    for name in ("step", "tokens"):
        columns[name] = columns[name].astype(np.int64)
    return TrainedCurve(**columns, averages=averages, seconds=seconds)


def divergence(
    config: ProxyConfig, window: LogInterval, losses: NDArray[np.float32], loss: float
) -> str | None:
    """What is wrong with a run that cannot come back, or None.

    Args:
        config: of the run.
        window: the last one.
        losses: of its batches, of shape (updates,).
        loss: on held-out text after it.
    """
    uniform = math.log(config.size.vocabulary)
    bad = ~(np.isfinite(losses) & (losses < DIVERGED * uniform))
    if bad.any():
        step = window.first + int(np.argmax(bad))
        value = float(losses[step - window.first])
        update = max(step - 1, 0)  # a batch's loss is taken before its own update
    elif not loss < DIVERGED * uniform:
        step = update = window.end - 1
        value = loss
    else:
        return None
    return (
        f"{config.schedule.spec}: the loss is {value:g} nats at step {step} (a uniform guess costs "
        f"{uniform:.2f}): the run diverged at lr {config.schedule.lr[update]:g}; "
        f"lower the peak ({config.schedule.peak_lr:g}) or lengthen the warm-up. Nothing is written"
    )


def _stack(parts: Sequence[Any], fleet: bool) -> Any:
    """One array for a fleet, the only part without."""
    if not fleet:
        (part,) = parts
        return part
    return jnp.stack(parts) if isinstance(parts[0], jax.Array) else np.stack(parts)


def _merged(snapshots: tuple[Any, ...], counts: tuple[int, ...]) -> list[Any]:
    """Plain averages of the last snapshots, of as many as there are so far."""
    return [
        jax.tree.map(lambda *leaves: sum(leaves[1:], leaves[0]) / len(leaves), *snapshots[-count:])
        for count in counts
    ]
