"""`scaling-laws proxy train|sweep`: train small models and add their curves to sets."""

from __future__ import annotations

import argparse
import math
import re
import shlex
from typing import TYPE_CHECKING, Any

from scaling_laws.common import UsageError, to_float
from scaling_laws.interface.cli import common, sweep

if TYPE_CHECKING:
    from scaling_laws.proxy import TrainingRun

__all__ = ["add_parser", "command_line", "render", "run"]


def add_parser(verbs: common.Verbs) -> None:
    """Add the verb and its subverbs."""
    parser = verbs.add_parser(
        "proxy",
        help="train small models to generate loss curves",
        description="Train small models to generate your own loss curves.",
    )
    inner = parser.add_subparsers(title="verbs", metavar="VERB", required=True)
    train = inner.add_parser(
        "train",
        help="train one model under one schedule",
        description="Train a small transformer under one schedule and write its validation loss as "
        "a run of a set: DIR/RUN.csv and an entry in DIR/dataset.toml. If interrupted, rerun the "
        "same command to resume.",
    )
    train.add_argument(
        "--schedule", required=True, metavar="SPEC", help="family:key=value,... (see schedules)"
    )
    train.add_argument("--out", required=True, metavar="DIR", help="folder of the set")
    train.add_argument("--name", metavar="RUN", help="name of the run (default: from the spec)")
    add_settings(train)
    train.add_argument(
        "--from",
        dest="parent",
        metavar="RUN@STEP",
        help="start from the state that RUN of the same set (or DIR/RUN) kept at STEP",
    )
    train.add_argument(
        "--keep",
        type=_steps,
        default=(),
        metavar="STEP,...",
        help="steps whose state to keep, so that later runs can branch off",
    )
    train.add_argument(
        "--checkpoint-every",
        type=_seconds,
        default=60.0,
        metavar="SECONDS",
        help="training time lost at most by an interruption (default 60)",
    )
    train.add_argument(
        "--cache", metavar="DIR", help="folder for the tokenized text (default: keep it in memory)"
    )
    train.add_argument(
        "--license",
        default="unspecified",
        metavar="TEXT",
        help="licence of the curves, recorded when the set is created",
    )
    train.add_argument("--overwrite", action="store_true", help="replace a run of the same name")
    common.add_common(train)
    train.set_defaults(run=run, render=render)
    sweep.add_parser(inner)


def add_settings(parser: argparse.ArgumentParser) -> None:
    """One flag per setting, except the seed, which every verb has."""
    from scaling_laws.proxy import SETTINGS

    group = parser.add_argument_group("settings")
    for setting in SETTINGS:
        if setting.name != "seed":
            default = "" if setting.default in (None, ()) else f" (default {setting.default})"
            flag = "--" + setting.name.replace("_", "-")
            group.add_argument(flag, metavar=setting.metavar, help=setting.help + default)


def _steps(text: str) -> tuple[int, ...]:
    return tuple(common.whole(part) for part in common.names_in(text))


def _seconds(text: str) -> float:
    try:
        value = to_float(text)
    except ValueError:
        value = math.nan
    if not value >= 0:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of seconds >= 0")
    return value


def _settings(arguments: argparse.Namespace) -> dict[str, Any]:
    from scaling_laws.proxy import SETTINGS

    return {setting.name: getattr(arguments, setting.name) for setting in SETTINGS}


def command_line(arguments: argparse.Namespace, name: str, precision: str) -> str:
    """The command that trains the same run again, with every default written out."""
    from scaling_laws.proxy import settings_as_text

    words = ["scaling-laws", "proxy", "train", "--schedule", arguments.schedule]
    for key, value in settings_as_text(_settings(arguments) | {"precision": precision}).items():
        words += ["--" + key.replace("_", "-"), value]
    if arguments.parent:
        words += ["--from", arguments.parent]
    if arguments.keep:
        words += ["--keep", ",".join(map(str, arguments.keep))]
    return shlex.join([*words, "--out", arguments.out, "--name", name])


def _member(arguments: argparse.Namespace) -> TrainingRun:
    from pathlib import Path

    from scaling_laws.proxy import BranchPoint, Destination, TrainingRun, config_of, default_name

    cache = None if arguments.cache is None else Path(arguments.cache)
    config = config_of(_settings(arguments) | {"schedule": arguments.schedule}, cache=cache)
    name = arguments.name
    if name is None:
        name = default_name(config.schedule, config.seed)
    folder = Path(arguments.out)
    parent = None
    if arguments.parent:
        match = re.fullmatch(r"(?:(.+)/)?([^/]+)@([0-9]+)", arguments.parent)
        if match is None:
            raise UsageError(
                f"--from {arguments.parent!r}: the form is [DIR/]RUN@STEP, e.g. constant@3200"
            )
        parent = BranchPoint(Path(match[1]) if match[1] else folder, match[2], int(match[3]))
    return TrainingRun(
        config,
        Destination(folder, name, arguments.overwrite),
        command=command_line(arguments, name, config.precision),
        license_text=arguments.license,
        parent=parent,
        keep=arguments.keep,
    )


def run(arguments: argparse.Namespace) -> dict[str, Any]:
    """Check everything, train, then write."""
    from scaling_laws.common import ProxyError, report_progress
    from scaling_laws.proxy import LoggedStep, differing_facts, train_fleet

    member = _member(arguments)
    config, destination = member.config, member.destination
    deviations = differing_facts(destination, config)

    def report(update: LoggedStep) -> None:
        speed = f"{update.tokens_per_second:,.0f} tokens/s"
        stage = f"{update.name}: loss {update.loss:.4f}, {speed}; steps"
        report_progress(stage, update.step, update.steps)

    (result,) = train_fleet(
        [member],
        work=destination.folder / ".unfinished",
        checkpoint_every=arguments.checkpoint_every,
        progress=report,
    )
    if result.error:
        raise ProxyError(result.error)
    return {
        "run": result.name,
        "set": str(result.folder),
        "state": result.state,
        "spec": config.schedule.spec,
        "size": config.size.name,
        "model_params": config.size.parameters,
        "final_loss": result.final_loss,
        "unit": "byte" if config.corpus.tokenizer == "bytes" else "token",
        "entropy_rate": config.corpus.entropy_rate,
        "steps": config.schedule.steps,
        "own_steps": config.schedule.steps - member.start,
        "tokens": config.tokens,
        "seconds": result.seconds,
        "differs_from_set": {key: list(pair) for key, pair in deviations.items()},
        "files": [str(file) for file in result.files],
    }


def render(result: dict[str, Any]) -> str:
    """The final loss, the size of the run, and the files written."""
    floor = result["entropy_rate"]
    lines = [
        f"{result['run']}: final loss {result['final_loss']:.4f} nats per {result['unit']}"
        + (f" (lower bound of any model: {floor:.4f})" if floor is not None else ""),
        f"{result['steps']} steps, {result['tokens']} tokens, {result['model_params']} parameters",
    ]
    for key, (of_set, of_run) in result["differs_from_set"].items():
        lines.append(f"{key} is {of_run}, but {of_set} in the set: recorded for this run only")
    if result["state"] == "skipped":
        return "\n".join([*lines, f"already in {result['set']}; nothing was trained"])
    pace = 1e3 * result["seconds"] / result["own_steps"]
    lines[1] += f", {result['seconds']:.0f} s ({pace:.0f} ms per step)"
    return "\n".join([*lines, f"wrote {' and '.join(result['files'])}"])
