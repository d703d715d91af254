"""Positions on disk: arrays and JSON in one .npz, no pickle, written atomically."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from numpy.typing import NDArray

from scaling_laws.common import ProxyError, make_folder, open_bytes, write_with
from scaling_laws.proxy.training import compiled_steps, training_loop
from scaling_laws.proxy.training.proxy_config import ProxyConfig

__all__ = [
    "check_origin",
    "fingerprint",
    "load_position",
    "save_position",
    "settings_of",
    "stored_settings",
]

VERSION = 1


def settings_of(config: ProxyConfig, steps_seen: int | None = None) -> dict[str, Any]:
    """Everything that determines the first `steps_seen` updates of a curve, or all, as JSON.

    The schedule is represented by a digest of its learning rates, so that two specs with the same
    rates are equal.
    """
    lr = config.schedule.lr[:steps_seen]
    size = {key: value for key, value in vars(config.size).items() if key != "name"}
    return {
        **size,
        "corpus_hash": config.corpus.digest,
        "seed": config.seed,
        "every": config.every,
        "weight_decay": config.weight_decay,
        "optimizer": config.optimizer,
        "sampling": config.sampling,
        "ramp": [
            [step, batch] for step, batch in config.ramp if steps_seen is None or step < steps_seen
        ],
        "precision": config.precision,
        "width_rule": config.width_rule,
        "ema": list(config.ema),
        "merge": list(config.merge),
        "rates": hashlib.sha256(np.ascontiguousarray(lr, "<f8").tobytes()).hexdigest(),
    }


def fingerprint(*settings: Mapping[str, Any]) -> str:
    """``sha256:...`` of the settings of one run or of the runs of a fleet."""
    text = json.dumps([dict(sorted(entry.items())) for entry in settings])
    return "sha256:" + hashlib.sha256(text.encode()).hexdigest()


def save_position(
    path: Path, position: training_loop.Position, settings: Sequence[Mapping[str, Any]]
) -> Path:
    """Write a position with the settings of its runs.

    Raises:
        OutputError: if it cannot be written.
    """
    leaves = jax.tree.leaves((position.state, position.snapshots))
    header = {
        "version": VERSION,
        "step": position.step,
        "seconds": position.seconds,
        "snapshots": len(position.snapshots),
        "leaves": len(leaves),
        "settings": [dict(entry) for entry in settings],
    }
    arrays: dict[str, Any] = {f"leaf_{i}": np.asarray(leaf) for i, leaf in enumerate(leaves)}
    make_folder(path.parent)

    def write(target: Path) -> None:
        with target.open("wb") as file:
            np.savez(file, header=np.array(json.dumps(header)), rows=position.rows, **arrays)

    return write_with(path, write)


def load_position(
    path: Path, configs: Sequence[ProxyConfig], fleet: bool = False
) -> tuple[training_loop.Position, list[dict[str, Any]]]:
    """Read a position and the settings it was written with.

    Args:
        path: as written by `save_position`.
        configs: of the runs, which determine the shapes.
        fleet: whether the arrays have a leading axis of runs.

    Raises:
        ProxyError: if the file is damaged or contains other shapes.
    """
    header, (rows, *leaves) = _read(path)
    start = training_loop.begin(configs, fleet)
    template = (start.state, (start.state.parameters,) * header["snapshots"])
    shapes, tree = jax.tree.flatten(template)
    expected = [(leaf.shape, leaf.dtype) for leaf in shapes]
    runs, _, columns = start.rows.shape
    rows_match = rows.ndim == 3 and (rows.shape[0], rows.shape[2]) == (runs, columns)
    if not rows_match or expected != [(leaf.shape, leaf.dtype) for leaf in leaves]:
        raise ProxyError(
            f"{path} contains a model of another shape; remove it to train again", path=path
        )
    state, snapshots = jax.tree.unflatten(tree, [jnp.asarray(leaf) for leaf in leaves])
    position = training_loop.Position(
        header["step"], compiled_steps.State(*state), snapshots, rows, header["seconds"]
    )
    return position, header["settings"]


def stored_settings(path: Path) -> list[dict[str, Any]]:
    """The settings stored with a position, whatever its shapes.

    Raises:
        ProxyError: if the file is damaged.
    """
    settings: list[dict[str, Any]] = _read(path, arrays=False)[0]["settings"]
    return settings


def check_origin(path: Path, settings: Mapping[str, Any], run: str, parent: str, step: int) -> None:
    """Raise unless a checkpoint exists and was written with these settings.

    Args:
        path: of the checkpoint.
        settings: of the run that will start from it, see `settings_of`.
        run: name of that run.
        parent: name of the run that kept the checkpoint.
        step: number of updates before the checkpoint.

    Raises:
        ProxyError: if it does not exist, is damaged, or differs, naming the first such setting.
    """
    if not path.exists():
        raise ProxyError(
            f"{run}: {parent} has no checkpoint at step {step} ({path} does not exist); "
            f"train {parent} with --keep {step}",
            path=path,
            value=step,
        )
    (theirs,) = stored_settings(path)
    for key, value in settings.items():
        if theirs.get(key) != value:
            if key == "rates":
                detail = "other learning rates before that step"
            else:
                detail = f"{key} = {theirs.get(key)!r}, not {value!r}"
            raise ProxyError(
                f"{run} cannot branch from {parent}@{step}, which has {detail}",
                path=path,
                value=value,
            )


def _read(path: Path, arrays: bool = True) -> tuple[dict[str, Any], list[NDArray[Any]]]:
    """The header; and the rows and leaves if `arrays`."""
    try:
        # given a path, numpy would leave a damaged file open
        with (
            open_bytes(path, max_bytes=None) as raw,
            np.load(raw, allow_pickle=False) as file,
        ):
            header = json.loads(str(file["header"]))
            version = header["version"]
            names = ["rows", *(f"leaf_{index}" for index in range(header["leaves"]))]
            read = [file[name] for name in names] if arrays and version == VERSION else []
    except Exception as error:  # a damaged archive raises many kinds of exceptions
        raise ProxyError(
            f"{path} is not a readable checkpoint ({error}); remove it to train again", path=path
        ) from error
    if version != VERSION:
        raise ProxyError(
            f"{path} is a checkpoint of version {version}; this program reads version {VERSION}; "
            "remove it to train again",
            path=path,
            value=version,
        )
    return header, read
