"""`scaling-laws proxy train|sweep`: train small models and add their curves to sets of runs."""

from __future__ import annotations

import argparse
import math
import re
import shlex
from typing import TYPE_CHECKING, Any

from scaling_laws.common import UsageError
from scaling_laws.interface.cli import common, sweep

if TYPE_CHECKING:
    from scaling_laws.proxy import TrainingRun

__all__ = ["add_parser", "command_line", "render", "run"]


def add_parser(verbs: common.Verbs) -> None:
    """Add the verb and its own verbs."""
    parser = verbs.add_parser(
        "proxy",
        help="train small models to get curves of one's own",
        description="Train small models to get loss curves of one's own.",
    )
    inner = parser.add_subparsers(title="verbs", metavar="VERB", required=True)
    train = inner.add_parser(
        "train",
        help="train one model under one schedule",
        description="Train a small transformer under one schedule and write its validation loss as "
        "a run of a set: DIR/RUN.csv and an entry in DIR/dataset.toml. Killed, the same command "
        "goes on where it was.",
    )
    train.add_argument(
        "--schedule", required=True, metavar="SPEC", help="family:key=value,... (see schedules)"
    )
    train.add_argument("--out", required=True, metavar="DIR", help="folder of the set")
    train.add_argument("--name", metavar="RUN", help="name of the run (default from the spec)")
    add_settings(train)
    train.add_argument(
        "--from",
        dest="parent",
        metavar="RUN@STEP",
        help="start from what RUN of the same set (or DIR/RUN) has kept at that step",
    )
    train.add_argument(
        "--keep",
        type=_steps,
        default=(),
        metavar="STEP,...",
        help="steps at which later runs may branch off",
    )
    train.add_argument(
        "--checkpoint-every",
        type=_seconds,
        default=60.0,
        metavar="SECONDS",
        help="time that a kill may cost (default 60)",
    )
    train.add_argument(
        "--cache", metavar="DIR", help="folder for the text as tokens on disk (default: in memory)"
    )
    train.add_argument(
        "--license",
        default="unspecified",
        metavar="TEXT",
        help="licence of the curves, written when the set is new",
    )
    train.add_argument("--overwrite", action="store_true", help="replace a run of the same name")
    common.add_common(train)
    train.set_defaults(run=run, render=render)
    sweep.add_parser(inner)


def add_settings(parser: argparse.ArgumentParser) -> None:
    """A flag for each setting but the seed, which every verb has."""
    from scaling_laws.proxy import SETTINGS

    group = parser.add_argument_group("settings")
    for each in SETTINGS:
        if each.name != "seed":
            default = "" if each.default in (None, ()) else f" (default {each.default})"
            group.add_argument(
                "--" + each.name.replace("_", "-"), metavar=each.metavar, help=each.help + default
            )


def _steps(text: str) -> tuple[int, ...]:
    return tuple(common.whole(part) for part in common.names_in(text))


def _seconds(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not value >= 0:
        raise argparse.ArgumentTypeError(f"{text!r} is no number of seconds >= 0")
    return value


def _settings(arguments: argparse.Namespace) -> dict[str, Any]:
    from scaling_laws.proxy import SETTINGS

    return {each.name: getattr(arguments, each.name) for each in SETTINGS}


def command_line(arguments: argparse.Namespace, name: str, precision: str) -> str:
    """The command that trains the same run again, every default spelt out."""
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
        found = re.fullmatch(r"(?:(.+)/)?([^/]+)@([0-9]+)", arguments.parent)
        if found is None:
            raise UsageError(
                f"--from {arguments.parent!r}: write RUN@STEP or DIR/RUN@STEP, constant@3200, say"
            )
        parent = BranchPoint(Path(found[1]) if found[1] else folder, found[2], int(found[3]))
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
    from scaling_laws.common import ProxyError
    from scaling_laws.proxy import LoggedStep, differing_facts, train_fleet

    member = _member(arguments)
    config, destination = member.config, member.destination
    own = differing_facts(destination, config)
    report = common.progress()

    def tell(news: LoggedStep) -> None:
        if report is not None:
            report(
                f"{news.name}: step {news.step}/{news.steps}, loss {news.loss:.4f}, "
                f"{news.tokens_per_second:,.0f} tokens/s"
            )

    (result,) = train_fleet(
        [member],
        work=destination.folder / ".unfinished",
        checkpoint_every=arguments.checkpoint_every,
        progress=tell,
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
        "differs_from_set": {key: list(pair) for key, pair in own.items()},
        "files": [str(file) for file in result.files],
    }


def render(result: dict[str, Any]) -> str:
    """Where the run went and how it ended."""
    floor = result["entropy_rate"]
    lines = [
        f"{result['run']}: final loss {result['final_loss']:.4f} nats per {result['unit']}"
        + (f" (no model can beat {floor:.4f})" if floor is not None else ""),
        f"{result['steps']} steps, {result['tokens']} tokens, {result['model_params']} parameters",
    ]
    for key, (theirs, ours) in result["differs_from_set"].items():
        lines.append(f"{key} is {ours}, elsewhere in the set {theirs}: written as the run's own")
    if result["state"] == "skipped":
        return "\n".join([*lines, f"it was in {result['set']} already; nothing was trained"])
    pace = 1e3 * result["seconds"] / result["own_steps"]
    lines[1] += f", {result['seconds']:.0f} s ({pace:.0f} ms a step)"
    return "\n".join([*lines, f"wrote {' and '.join(result['files'])}"])
