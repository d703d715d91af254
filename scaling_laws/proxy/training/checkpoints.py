"""Positions on disk: arrays and JSON in one .npz, never a pickle, written whole or not at all."""

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

from scaling_laws.common import ProxyError, make_folder, write_with
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
    """Everything that decides a curve, as JSON: of its first `steps_seen` updates, or of all.

    The schedule enters as a digest of its rates, so that two specs with the same rates agree.
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
        "ramp": [list(each) for each in config.ramp if steps_seen is None or each[0] < steps_seen],
        "precision": config.precision,
        "width_rule": config.width_rule,
        "ema": list(config.ema),
        "merge": list(config.merge),
        "rates": hashlib.sha256(np.ascontiguousarray(lr, "<f8").tobytes()).hexdigest(),
    }


def fingerprint(*settings: Mapping[str, Any]) -> str:
    """``sha256:...`` of the settings of one run or of the members of a fleet."""
    text = json.dumps([dict(sorted(each.items())) for each in settings])
    return "sha256:" + hashlib.sha256(text.encode()).hexdigest()


def save_position(
    path: Path, position: training_loop.Position, settings: Sequence[Mapping[str, Any]]
) -> Path:
    """Write a position with the settings of its members.

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
        "settings": [dict(each) for each in settings],
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
        configs: of the members, which give the shapes.
        fleet: whether the arrays have a leading axis of members.

    Raises:
        ProxyError: if the file is damaged or holds other shapes.
    """
    header, (rows, *leaves) = _read(path)
    start = training_loop.begin(configs, fleet)
    template = (start.state, (start.state.parameters,) * header["snapshots"])
    shapes, tree = jax.tree.flatten(template)
    wanted = [(leaf.shape, leaf.dtype) for leaf in shapes]
    members, _, columns = start.rows.shape
    of_rows = rows.ndim == 3 and (rows.shape[0], rows.shape[2]) == (members, columns)
    if not of_rows or wanted != [(leaf.shape, leaf.dtype) for leaf in leaves]:
        raise ProxyError(f"{path} holds a model of another shape; remove it to train again")
    state, snapshots = jax.tree.unflatten(tree, [jnp.asarray(leaf) for leaf in leaves])
    position = training_loop.Position(
        header["step"], compiled_steps.State(*state), snapshots, rows, header["seconds"]
    )
    return position, header["settings"]


def stored_settings(path: Path) -> list[dict[str, Any]]:
    """The settings that a position was written with, whatever its shapes.

    Raises:
        ProxyError: if the file is damaged.
    """
    found: list[dict[str, Any]] = _read(path, arrays=False)[0]["settings"]
    return found


def check_origin(path: Path, settings: Mapping[str, Any], run: str, parent: str, step: int) -> None:
    """Raise unless a run's position is there and was written with these settings.

    Args:
        path: of the position.
        settings: of the run that is to start there, see `settings_of`.
        run: its name.
        parent: the name of the run that has kept the position.
        step: after how many updates.

    Raises:
        ProxyError: if it is not there, is damaged, or differs; naming the first setting that does.
    """
    if not path.exists():
        raise ProxyError(
            f"{run}: {parent} has kept no checkpoint at step {step} ({path} is not there); "
            f"train {parent} with --keep {step}"
        )
    (theirs,) = stored_settings(path)
    for key, value in settings.items():
        if theirs.get(key) != value:
            what = "rates of the steps before" if key == "rates" else f"{key} = {theirs.get(key)!r}"
            raise ProxyError(
                f"{run} cannot branch from {parent}@{step}, which has other {what}"
                + ("" if key == "rates" else f", not {value!r}")
            )


def _read(path: Path, arrays: bool = True) -> tuple[dict[str, Any], list[NDArray[Any]]]:
    """The header, and the rows and leaves if they are wanted."""
    try:
        # numpy leaves a damaged file open that it has opened itself
        with path.open("rb") as raw, np.load(raw, allow_pickle=False) as file:
            header = json.loads(str(file["header"]))
            version = header["version"]
            names = ["rows", *(f"leaf_{index}" for index in range(header["leaves"]))]
            found = [file[name] for name in names] if arrays and version == VERSION else []
    except Exception as error:  # a damaged archive fails in a dozen ways, by where it is damaged
        raise ProxyError(
            f"{path} is no readable checkpoint ({error}); remove it to train again"
        ) from error
    if version != VERSION:
        raise ProxyError(
            f"{path} is a checkpoint of version {version}, this program reads {VERSION}; "
            "remove it to train again"
        )
    return header, found
