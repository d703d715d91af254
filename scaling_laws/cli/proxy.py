"""`scaling-laws proxy train`: train a small model under a schedule and add it to a set of runs."""

from __future__ import annotations

import argparse
import shlex
from typing import Any

from scaling_laws.cli import common

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
        description="Train a small byte transformer under one schedule and write its validation "
        "loss as a run of a set: DIR/RUN.csv and an entry in DIR/dataset.toml.",
    )
    train.add_argument("--size", required=True, metavar="NAME", help="nano, micro or small")
    train.add_argument(
        "--schedule", required=True, metavar="SPEC", help="family:key=value,... (see schedules)"
    )
    train.add_argument("--out", required=True, metavar="DIR", help="folder of the set")
    train.add_argument(
        "--corpus",
        default="stdlib",
        metavar="TEXT",
        help="stdlib (Python's own sources), synthetic[:SEED], or a file, folder or glob pattern "
        "(default stdlib)",
    )
    train.add_argument("--name", metavar="RUN", help="name of the run (default from the spec)")
    train.add_argument(
        "--every", type=int, default=20, metavar="K", help="steps between losses (default 20)"
    )
    train.add_argument(
        "--weight-decay", type=float, default=0.1, metavar="X", help="decoupled (default 0.1)"
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


def command_line(arguments: argparse.Namespace, name: str) -> str:
    """The command that trains the same run again, every default spelt out."""
    words = ["scaling-laws", "proxy", "train"]
    for flag in ("size", "schedule", "corpus", "seed", "every", "weight_decay", "out"):
        words += ["--" + flag.replace("_", "-"), str(getattr(arguments, flag))]
    return shlex.join([*words, "--name", name])


def run(arguments: argparse.Namespace) -> dict[str, Any]:
    """Check everything, train, then write."""
    from pathlib import Path

    from scaling_laws.proxy import (
        Destination,
        ProxyConfig,
        check_destination,
        default_name,
        get_size,
        load_corpus,
        train,
        write_run,
    )
    from scaling_laws.schedules import schedule

    plan = schedule(arguments.schedule)
    config = ProxyConfig(
        size=get_size(arguments.size),
        schedule=plan,
        corpus=load_corpus(arguments.corpus),
        seed=arguments.seed,
        every=arguments.every,
        weight_decay=arguments.weight_decay,
    )
    name = arguments.name if arguments.name is not None else default_name(plan, config.seed)
    destination = Destination(Path(arguments.out), name, arguments.overwrite)
    check_destination(destination, config)
    report = common.progress()
    curve = train(
        config,
        report
        and (lambda step, loss: report(f"{name}: step {step + 1}/{plan.steps}, loss {loss:.4f}")),
    )
    files = write_run(
        destination,
        config,
        curve,
        command=command_line(arguments, name),
        license_text=arguments.license,
    )
    return {
        "run": name,
        "set": str(destination.folder),
        "spec": plan.spec,
        "size": config.size.name,
        "model_params": config.size.parameters,
        "final_loss": float(curve.loss[-1]),
        "entropy_rate": config.corpus.entropy_rate,
        "steps": plan.steps,
        "tokens": plan.steps * config.size.tokens_per_step,
        "seconds": curve.seconds,
        "files": [str(file) for file in files],
    }


def render(result: dict[str, Any]) -> str:
    """Where the run went and how it ended."""
    pace = 1e3 * result["seconds"] / result["steps"]
    floor = result["entropy_rate"]
    lines = [
        f"{result['run']}: final loss {result['final_loss']:.4f} nats per byte"
        + (f" (no model can beat {floor:.4f})" if floor is not None else ""),
        f"{result['steps']} steps, {result['tokens']} tokens, {result['model_params']} parameters, "
        f"{result['seconds']:.0f} s ({pace:.0f} ms a step)",
        f"wrote {' and '.join(result['files'])}",
    ]
    return "\n".join(lines)
