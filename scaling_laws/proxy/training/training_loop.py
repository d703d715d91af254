"""Train proxy models from one logged loss to the next, and log their curves.

Batches are a pure function of (seed, step): two runs of a set that share a seed are trained on the
same text in the same order, whatever their schedules. A `Position` is the complete state between
two logging intervals: training resumed from it gives the same bits.
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
LOSS = COLUMNS.index("loss")
DIVERGED = 2.0  # times the loss of a uniform guess
StepCallback = Callable[[int, float], None]


@dataclass(frozen=True, eq=False)
class TrainedCurve:
    """A logged run; every column has shape (rows,).

    Attributes:
        step: the update that a row follows, 0-based, int64.
        lr: learning rate of that update.
        loss: validation loss after that update, nats per token.
        train_loss: mean loss of the batches since the previous row, each before its update.
        tokens: tokens predicted by all updates so far, int64.
        epoch: the same divided by the tokens of an epoch.
        grad_norm: mean global gradient norm of the same updates, before clipping.
        update_norm: mean L2 norm of the change of the matrices, over the same updates.
        param_norm: L2 norm of all matrices together after that update.
        embedding_norm: L2 norm of the embedding.
        hidden_norm: L2 norm of the matrices between embedding and head.
        head_norm: L2 norm of the head, zero if the embeddings are tied.
        tokens_per_second: tokens predicted since the previous row per second of wall time,
            including evaluation and compilation: the only column that is not reproducible.
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
        """All columns by name, in the order of the CSV file."""
        named = {name: getattr(self, name) for name in COLUMNS}
        speed = named.pop("tokens_per_second")
        return named | self.averages | {"tokens_per_second": speed}


class Position(NamedTuple):
    """The state of a run, or of a fleet with a leading axis of runs, between two intervals.

    Attributes:
        step: updates done.
        state: after these updates.
        snapshots: parameters at the last logged steps, the newest last, for merging.
        rows: shape (runs, rows, columns), float64: `COLUMNS`, then the losses of averages.
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
        The curve, with one row per `config.every` updates and one after the last update.

    Raises:
        ProxyError: if the run diverges, naming the step.
    """
    held_out = jnp.asarray(config.validation_windows)
    position = begin([config])
    for interval in config.log_intervals():
        position, losses = advance([config], position, interval, held_out)
        loss = float(position.rows[0, -1, LOSS])
        fault = divergence(config, interval, losses[0], loss)
        if fault is not None:
            raise ProxyError(fault, value=loss)
        if progress is not None:
            progress(interval.end - 1, loss)
    return curve_of(config, position.rows[0], position.seconds)


def begin(configs: Sequence[ProxyConfig], fleet: bool = False) -> Position:
    """The position before the first update of one run, or of a fleet that shares its shapes."""
    keys = [jax.random.fold_in(jax.random.key(config.seed), 0) for config in configs]
    shapes = compiled_steps.shapes_of(configs[0])
    state = compiled_steps.initialize(_stack(keys, fleet), shapes, fleet=fleet)
    width = len(COLUMNS) + len(configs[0].ema) + len(configs[0].merge)
    return Position(0, state, (), np.empty((len(configs), 0, width)), 0.0)


def advance(
    configs: Sequence[ProxyConfig],
    position: Position,
    interval: LogInterval,
    held_out: jax.Array,
    fleet: bool = False,
) -> tuple[Position, NDArray[np.float32]]:
    """Train through one logging interval and measure at its end.

    Args:
        configs: one per run, a single one without `fleet`; all share their shapes.
        position: at the first step of the interval; its state is donated.
        interval: the next of `ProxyConfig.log_intervals`.
        held_out: tokens of shape (chunks, windows, context + 1).
        fleet: whether the arrays of the position have a leading axis of runs.

    Returns:
        The position after the interval; and the losses of all batches, of shape (runs, updates).
    """
    clock = time.perf_counter()
    config, shapes = configs[0], compiled_steps.shapes_of(configs[0])
    inputs = _inputs(configs, interval)
    state, logged = compiled_steps.update(
        position.state,
        *(jnp.asarray(_stack(part, fleet)) for part in inputs),
        shapes=shapes,
        fleet=fleet,
    )
    snapshots = position.snapshots
    if config.merge:
        copy = jax.tree.map(jnp.copy, state.parameters)  # the next update donates the state
        snapshots = (*snapshots, copy)[-max(config.merge) :]
    weights = [state.parameters, *state.averages, *_merged(snapshots, config.merge)]
    measured = [compiled_steps.evaluate(each, held_out, shapes, fleet=fleet) for each in weights]
    losses = np.stack([np.asarray(each, np.float64).reshape(-1) for each in measured], axis=1)
    norms = compiled_steps.norms(state.parameters, fleet=fleet)
    norms_of_runs = np.asarray(norms, np.float64).reshape(-1, 4)
    of_batches = np.asarray(logged).reshape(len(configs), -1, 3)
    means = of_batches.astype(np.float64).mean(axis=1)
    seconds = time.perf_counter() - clock
    rows = _rows(configs, interval, means, losses, norms_of_runs, seconds)
    table = np.concatenate([position.rows, rows[:, None, :]], axis=1)
    after = Position(interval.end, state, snapshots, table, position.seconds + seconds)
    return after, of_batches[:, :, 0]


def _inputs(configs: Sequence[ProxyConfig], interval: LogInterval) -> tuple[list[Any], ...]:
    """Learning rates, batches and weight decay of each run for the updates of an interval."""
    steps = np.arange(interval.first, interval.end, dtype=np.int64)
    seen = interval.seen + interval.batch * np.arange(len(steps), dtype=np.int64)
    batches = [
        batch_windows(
            config.corpus,
            steps,
            seen,
            seed=config.seed,
            batch=interval.batch,
            context=config.size.context,
            sampling=config.sampling,
        )
        for config in configs
    ]
    lr = [
        config.schedule.lr[interval.first : interval.end].astype(np.float32) for config in configs
    ]
    return lr, batches, [np.float32(config.weight_decay) for config in configs]


def _rows(
    configs: Sequence[ProxyConfig],
    interval: LogInterval,
    means: NDArray[np.float64],
    losses: NDArray[np.float64],
    norms: NDArray[np.float64],
    seconds: float,
) -> NDArray[np.float64]:
    """The new row of each run: `COLUMNS`, then the losses of averages.

    Args:
        configs: one per run.
        interval: the interval that has ended.
        means: means over its updates of what `compiled_steps.update` returns, (runs, 3).
        losses: of the weights and of their averages, (runs, 1 + averages).
        norms: as `compiled_steps.norms`, (runs, 4).
        seconds: wall time of the interval.
    """
    context = configs[0].size.context
    new_tokens = interval.batch * (interval.end - interval.first) * context
    tokens = interval.seen * context + new_tokens
    last = interval.end - 1
    rows = []
    for config, mean, loss, norm in zip(configs, means, losses, norms, strict=True):
        epoch = epoch_of(config.corpus, tokens, context)
        row = (last, config.schedule.lr[last], loss[0], mean[0], tokens, epoch)
        rows.append((*row, *mean[1:], *norm, new_tokens / seconds, *loss[1:]))
    return np.asarray(rows)


def curve_of(config: ProxyConfig, rows: NDArray[np.float64], seconds: float) -> TrainedCurve:
    """The curve of one run from its rows, of shape (rows, columns)."""
    columns = dict(zip(COLUMNS, rows.T, strict=False))
    names = [*(f"loss_ema_{decay:g}" for decay in config.ema)]
    names += [f"loss_merge_{count}" for count in config.merge]
    averages = dict(zip(names, rows.T[len(COLUMNS) :], strict=True))
    for name in ("step", "tokens"):
        columns[name] = columns[name].astype(np.int64)
    return TrainedCurve(**columns, averages=averages, seconds=seconds)


def divergence(
    config: ProxyConfig, interval: LogInterval, losses: NDArray[np.float32], loss: float
) -> str | None:
    """A message if the run has diverged, else None.

    Args:
        config: of the run.
        interval: the last one.
        losses: of its batches, of shape (updates,).
        loss: validation loss after it.
    """
    uniform = math.log(config.size.vocabulary)
    bad = ~(np.isfinite(losses) & (losses < DIVERGED * uniform))
    if bad.any():
        step = interval.first + int(np.argmax(bad))
        value = float(losses[step - interval.first])
        update = max(step - 1, 0)  # the loss of a batch is computed before its update
    elif not loss < DIVERGED * uniform:
        step = update = interval.end - 1
        value = loss
    else:
        return None
    return (
        f"{config.schedule.spec}: the loss is {value:g} nats at step {step} (a uniform guess costs "
        f"{uniform:.2f}): the run diverged at lr {config.schedule.lr[update]:g}; "
        f"lower the peak ({config.schedule.peak_lr:g}) or lengthen the warm-up. Nothing is written"
    )


def _stack(parts: Sequence[Any], fleet: bool) -> Any:
    """One array for a fleet; without a fleet, the only element."""
    if not fleet:
        (part,) = parts
        return part
    return jnp.stack(parts) if isinstance(parts[0], jax.Array) else np.stack(parts)


def _merged(snapshots: tuple[Any, ...], counts: tuple[int, ...]) -> list[Any]:
    """Arithmetic means of the last snapshots, fewer at the start of a run."""
    return [
        jax.tree.map(lambda *leaves: sum(leaves[1:], leaves[0]) / len(leaves), *snapshots[-count:])
        for count in counts
    ]
