"""The settings of a run as a person types them: flags of ``proxy train`` and keys of a plan.

The list itself imports nothing heavy: the help of the command line is made of it.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from scaling_laws.common import ProxyError, unknown_name
from scaling_laws.proxy.training.model_sizes import SIZES, Size, get_size

if TYPE_CHECKING:
    from scaling_laws.proxy.training.proxy_config import ProxyConfig

__all__ = ["SETTINGS", "Setting", "config_of", "normalized_settings", "settings_as_text"]


@dataclass(frozen=True)
class Setting:
    """One thing to choose.

    Attributes:
        name: key of a plan; the flag has dashes for underscores.
        read: from the text or the TOML value to the value; raises ValueError.
        default: what holds if nobody chooses; None where another setting decides.
        metavar: what the help calls the value.
        help: one line.
    """

    name: str
    read: Callable[[Any], Any]
    default: Any
    metavar: str
    help: str


def _whole(value: Any) -> int:
    if isinstance(value, bool) or (not isinstance(value, int) and not isinstance(value, str)):
        raise ValueError("a whole number is wanted")
    return int(value)


def _number(value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        raise ValueError("a number is wanted")
    return float(value)


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise ValueError("text is wanted")
    return value


def _flag(value: Any) -> bool:
    if isinstance(value, bool):
        return value
    if value in ("true", "false"):
        return bool(value == "true")
    raise ValueError("true or false is wanted")


def _items(item: Callable[[Any], Any], value: Any) -> tuple[Any, ...]:
    if isinstance(value, str):
        value = [part for part in re.split(r"[,/]", value) if part]
    elif not isinstance(value, list | tuple):
        value = [value]
    return tuple(item(each) for each in value)


def _ramp(value: Any) -> tuple[tuple[int, int], ...]:
    """``128@400,256@800``: 128 sequences an update from step 400 on, then 256."""
    pairs = [each.split("@") for each in _items(_text, value)]
    if any(len(pair) != 2 for pair in pairs):
        raise ValueError("BATCH@STEP is wanted")
    return tuple((_whole(step), _whole(batch)) for batch, step in pairs)


_SIZE_NAMES = ", ".join(size.name for size in SIZES)

SETTINGS: tuple[Setting, ...] = (
    Setting("size", _text, "nano", "NAME", f"{_SIZE_NAMES}, or a name of your own with --width"),
    Setting("width", _whole, None, "N", "numbers a token carries between layers"),
    Setting("layers", _whole, None, "N", "attention and MLP pairs"),
    Setting("heads", _whole, None, "N", "attention heads"),
    Setting("mlp_width", _whole, None, "N", "hidden numbers of an MLP (with --width: four times)"),
    Setting("context", _whole, None, "N", "tokens of a sequence"),
    Setting("batch", _whole, None, "N", "sequences in an update"),
    Setting("validation_windows", _whole, None, "N", "held-out sequences behind a logged loss"),
    Setting("tied", _flag, None, "BOOL", "the head is the embedding"),
    Setting("qk_norm", _flag, None, "BOOL", "queries and keys are normalised (default true)"),
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
        "random (anywhere, anew) or epochs (each window once an epoch)",
    ),
    Setting("seed", _whole, 0, "N", "of the initial weights and the batches"),
    Setting("every", _whole, 20, "K", "steps between losses"),
    Setting("optimizer", _text, "adamw", "NAME", "adamw or muon"),
    Setting("weight_decay", _number, 0.1, "X", "decoupled, on matrices"),
    Setting(
        "width_rule", _text, "per-layer", "NAME", "per-layer (hidden rates as 1/width) or none"
    ),
    Setting("batch_ramp", _ramp, (), "B@STEP,...", "batches that change at steps"),
    Setting("ema", partial(_items, _number), (), "D,...", "decays of averages measured too"),
    Setting("merge", partial(_items, _whole), (), "K,...", "logged steps to merge, measured too"),
    Setting("precision", _text, "auto", "NAME", "float32, bfloat16 or auto: by the device"),
)
_SHAPE = ("width", "layers", "heads", "mlp_width", "context", "batch", "validation_windows")
_KNOWN = {each.name: each for each in SETTINGS}


def normalized_settings(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Settings with every value read and every default filled in, in the order of `SETTINGS`.

    Raises:
        ProxyError: naming an unknown key or a value that cannot be read.
    """
    for key in settings:
        if key not in _KNOWN:
            raise ProxyError(unknown_name("setting", key, _KNOWN))
    found: dict[str, Any] = {}
    for each in SETTINGS:
        value = settings.get(each.name)
        try:
            found[each.name] = each.default if value is None else each.read(value)
        except ValueError as error:
            raise ProxyError(f"{each.name}={value!r}: {error}; {each.help}") from error
    return found


def config_of(settings: Mapping[str, Any], *, cache: Path | None = None) -> ProxyConfig:
    """A configuration from settings as they are typed.

    Args:
        settings: ``schedule``, a spec; and values by name of `SETTINGS`, as text or TOML values;
            missing ones have defaults.
        cache: folder for corpora on disk, see `load_corpus`.

    Raises:
        ProxyError: naming the setting at fault.
        ScheduleError: if the spec is none.
    """
    import jax

    from scaling_laws.models import schedule
    from scaling_laws.proxy.training.corpus import load_corpus
    from scaling_laws.proxy.training.proxy_config import ProxyConfig

    settings = dict(settings)
    spec = settings.pop("schedule", None)
    if not isinstance(spec, str):
        raise ProxyError(
            f"schedule={spec!r}: a spec is wanted, such as cosine:peak=2e-3,steps=4000"
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
    """A registered size with what the flags change; with a width, layers and heads one's own."""
    given = {key: values[key] for key in (*_SHAPE, "tied", "qk_norm") if values[key] is not None}
    shape = {"width", "layers", "heads"} & given.keys()
    if not shape:
        return replace(get_size(values["size"]), **given)
    if len(shape) < 3:
        raise ProxyError(
            "a model of one's own needs width, layers and heads, and only "
            f"{', '.join(sorted(shape))} is given; add the others"
        )
    base = get_size("nano")
    name = values["size"]
    if name in {size.name for size in SIZES}:
        name = "x".join(str(given[key]) for key in ("width", "layers", "heads"))
    own = {"mlp_width": 4 * given["width"], "context": base.context, "batch": base.batch}
    windows = {"validation_windows": base.validation_windows}
    return Size(**({"name": name} | own | windows | given))


def settings_as_text(settings: Mapping[str, Any]) -> dict[str, str]:
    """Settings as text that reads back the same, every default spelt out, what is unset left out.

    Raises:
        ProxyError: as `normalized_settings`.
    """
    found = {}
    for key, value in normalized_settings(settings).items():
        if key == "batch_ramp":
            value = [f"{batch}@{step}" for step, batch in value]
        if isinstance(value, list | tuple):
            value = ",".join(map(str, value))
        if value not in (None, ""):
            found[key] = str(value).lower() if isinstance(value, bool) else str(value)
    return found
