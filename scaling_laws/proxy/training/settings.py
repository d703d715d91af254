"""The settings of a run as a user types them: flags of ``proxy train`` and keys of a plan.

Importing this module is cheap, because the command line's help is generated from the list.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from scaling_laws.common import ProxyError, to_float, to_int, unknown_name
from scaling_laws.proxy.training.model_sizes import SIZES, Size, get_size

if TYPE_CHECKING:
    from scaling_laws.proxy.training.proxy_config import ProxyConfig

__all__ = ["SETTINGS", "Setting", "config_of", "normalized_settings", "settings_as_text"]


@dataclass(frozen=True)
class Setting:
    """One setting.

    Attributes:
        name: key in a plan; the flag has dashes instead of underscores.
        read: converts text or a TOML value to the value; raises ValueError.
        default: default value; None if another setting determines it.
        metavar: name of the value in the help.
        help: one line.
    """

    name: str
    read: Callable[[Any], Any]
    default: Any
    metavar: str
    help: str


def _integer(value: Any) -> int:
    if isinstance(value, bool) or (not isinstance(value, int) and not isinstance(value, str)):
        raise ValueError("expected an integer")
    return to_int(value) if isinstance(value, str) else value


def _number(value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        raise ValueError("expected a number")
    return to_float(value) if isinstance(value, str) else float(value)


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise ValueError("expected a string")
    return value


def _flag(value: Any) -> bool:
    if isinstance(value, bool):
        return value
    if value in ("true", "false"):
        return bool(value == "true")
    raise ValueError("expected true or false")


def _items(read: Callable[[Any], Any], value: Any) -> tuple[Any, ...]:
    if isinstance(value, str):
        value = [part for part in re.split(r"[,/]", value) if part]
    elif not isinstance(value, list | tuple):
        value = [value]
    return tuple(read(item) for item in value)


def _ramp(value: Any) -> tuple[tuple[int, int], ...]:
    """``128@400,256@800``: 128 sequences per update from step 400 on, 256 from step 800 on."""
    pairs = [item.split("@") for item in _items(_text, value)]
    if any(len(pair) != 2 for pair in pairs):
        raise ValueError("expected BATCH@STEP")
    return tuple((_integer(step), _integer(batch)) for batch, step in pairs)


_SIZE_NAMES = ", ".join(size.name for size in SIZES)

SETTINGS: tuple[Setting, ...] = (
    Setting("size", _text, "nano", "NAME", f"{_SIZE_NAMES}, or a new name with --width"),
    Setting("width", _integer, None, "N", "width of the residual stream"),
    Setting("layers", _integer, None, "N", "number of transformer blocks"),
    Setting("heads", _integer, None, "N", "attention heads"),
    Setting(
        "mlp_width", _integer, None, "N", "hidden width of an MLP (with --width: 4 times the width)"
    ),
    Setting("context", _integer, None, "N", "tokens per sequence"),
    Setting("batch", _integer, None, "N", "sequences per update"),
    Setting("validation_windows", _integer, None, "N", "held-out sequences per logged loss"),
    Setting("tied", _flag, None, "BOOL", "tie the output head to the embedding"),
    Setting("qk_norm", _flag, None, "BOOL", "normalise queries and keys (default true)"),
    Setting(
        "corpus",
        _text,
        "stdlib",
        "TEXT",
        "stdlib (Python's own sources), synthetic[:SEED], stream[:SEED] (never repeats), or a "
        "file, folder or glob pattern",
    ),
    Setting("tokenizer", _text, "bytes", "NAME", "bytes, or bpe:N for N trained tokens"),
    Setting(
        "sampling",
        _text,
        "random",
        "NAME",
        "random (independent positions) or epochs (every window once per epoch)",
    ),
    Setting("seed", _integer, 0, "N", "seed of the initial weights and the batches"),
    Setting("every", _integer, 20, "K", "steps between logged losses"),
    Setting("optimizer", _text, "adamw", "NAME", "adamw or muon"),
    Setting("weight_decay", _number, 0.1, "X", "decoupled weight decay of matrices"),
    Setting(
        "width_rule",
        _text,
        "per-layer",
        "NAME",
        "per-layer (hidden rates scale as 1/width) or none",
    ),
    Setting("batch_ramp", _ramp, (), "B@STEP,...", "change the batch size to B at step B@STEP"),
    Setting(
        "ema",
        partial(_items, _number),
        (),
        "D,...",
        "also evaluate exponential averages of the weights with these decays",
    ),
    Setting(
        "merge",
        partial(_items, _integer),
        (),
        "K,...",
        "also evaluate the mean of the weights at the last K logged steps",
    ),
    Setting(
        "precision", _text, "auto", "NAME", "float32, bfloat16 or auto (depends on the device)"
    ),
)
_SHAPE = ("width", "layers", "heads", "mlp_width", "context", "batch", "validation_windows")
_KNOWN = {setting.name: setting for setting in SETTINGS}


def normalized_settings(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Settings with all values converted and all defaults filled in, in the order of `SETTINGS`.

    Raises:
        ProxyError: naming an unknown key or a value that cannot be read.
    """
    for key in settings:
        if key not in _KNOWN:
            raise ProxyError(unknown_name("setting", key, _KNOWN), value=key)
    values: dict[str, Any] = {}
    for setting in SETTINGS:
        value = settings.get(setting.name)
        try:
            values[setting.name] = setting.default if value is None else setting.read(value)
        except ValueError as error:
            raise ProxyError(
                f"{setting.name}={value!r}: {error}; {setting.help}", value=value
            ) from error
    return values


def config_of(settings: Mapping[str, Any], *, cache: Path | None = None) -> ProxyConfig:
    """A configuration from settings as they are typed.

    Args:
        settings: ``schedule``, a spec; and values by name of `SETTINGS`, as text or TOML values.
            Missing ones have their defaults.
        cache: folder for corpora on disk, see `load_corpus`.

    Raises:
        ProxyError: naming the invalid setting.
        ScheduleError: if the spec is not valid.
    """
    import jax

    from scaling_laws.models import schedule
    from scaling_laws.proxy.training.corpus import load_corpus
    from scaling_laws.proxy.training.proxy_config import ProxyConfig

    settings = dict(settings)
    spec = settings.pop("schedule", None)
    if not isinstance(spec, str):
        raise ProxyError(
            f"schedule={spec!r}: expected a spec such as cosine:peak=2e-3,steps=4000", value=spec
        )
    values = normalized_settings(settings)
    precision = values["precision"]
    if precision == "auto":
        precision = "float32" if jax.default_backend() == "cpu" else "bfloat16"
    return ProxyConfig(
        size=_size(values),
        schedule=schedule(spec),
        corpus=load_corpus(values["corpus"], tokenizer=values["tokenizer"], cache=cache),
        seed=values["seed"],
        every=values["every"],
        weight_decay=values["weight_decay"],
        optimizer=values["optimizer"],
        sampling=values["sampling"],
        ramp=values["batch_ramp"],
        precision=precision,
        width_rule=values["width_rule"],
        ema=values["ema"],
        merge=values["merge"],
    )


def _size(values: Mapping[str, Any]) -> Size:
    """A registered size with changes; with a width, layers and heads, a new one."""
    changes = {key: values[key] for key in (*_SHAPE, "tied", "qk_norm") if values[key] is not None}
    shape = {"width", "layers", "heads"} & changes.keys()
    if not shape:
        return replace(get_size(values["size"]), **changes)
    if len(shape) < 3:
        raise ProxyError(
            "a new model needs width, layers and heads; only "
            f"{', '.join(sorted(shape))} given; add the others"
        )
    base = get_size("nano")
    name = values["size"]
    if name in {size.name for size in SIZES}:
        name = "x".join(str(changes[key]) for key in ("width", "layers", "heads"))
    defaults = {
        "name": name,
        "mlp_width": 4 * changes["width"],
        "context": base.context,
        "batch": base.batch,
        "validation_windows": base.validation_windows,
    }
    return Size(**(defaults | changes))


def settings_as_text(settings: Mapping[str, Any]) -> dict[str, str]:
    """Settings as text that reads back the same, with explicit defaults and without unset ones.

    Raises:
        ProxyError: as `normalized_settings`.
    """
    texts = {}
    for key, value in normalized_settings(settings).items():
        if key == "batch_ramp":
            value = [f"{batch}@{step}" for step, batch in value]
        if isinstance(value, list | tuple):
            value = ",".join(map(str, value))
        if value not in (None, ""):
            texts[key] = str(value).lower() if isinstance(value, bool) else str(value)
    return texts
