"""`scaling-laws proxy sweep`: train all runs of a plan, in several processes, resumably."""

from __future__ import annotations

import argparse
import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from scaling_laws.common import AUTO
from scaling_laws.interface.cli import common
from scaling_laws.interface.cli.pools import add_pool_options, given_pool
from scaling_laws.interface.report.text_table import text_table
from scaling_laws.proxy import SCRIPTS

if TYPE_CHECKING:
    from scaling_laws.proxy import Budget, Sweep

__all__ = ["add_parser", "exit_code", "render", "run"]

SHOWN = 20  # groups listed in a budget


def add_parser(verbs: common.Verbs) -> None:
    """Add the verb below ``proxy``."""
    parser = verbs.add_parser(
        "sweep",
        help="train all runs of a plan",
        description="Train all runs of a plan (TOML; see docs/sweep.md). Finished runs are "
        "skipped. If interrupted, rerun the same command to resume; the curves are the same.",
    )
    parser.add_argument("plan", metavar="PLAN.toml", help="plan of the sweep")
    where = parser.add_argument_group("execution")
    add_pool_options(
        where,
        "joblib for several groups on several CPU cores without an accelerator, else local",
        ", whose workers share the folders",
    )
    where.add_argument(
        "--fleet",
        type=common.whole,
        metavar="N",
        help="runs trained together, at most (default 16 on an accelerator, 1 on a CPU)",
    )
    where.add_argument(
        "--shard", type=_shard, metavar="I/N", help="train only part I of N, counted from 0"
    )
    where.add_argument(
        "--work",
        metavar="DIR",
        help="folder for checkpoints and progress (default .sweep/NAME next to the plan)",
    )
    where.add_argument(
        "--checkpoint-every",
        type=common.number,
        default=60.0,
        metavar="SECONDS",
        help="training time lost at most by an interruption (default 60)",
    )
    before = parser.add_argument_group("budget")
    before.add_argument(
        "--dry-run", action="store_true", help="check the plan and print the budget only"
    )
    before.add_argument(
        "--no-probe", action="store_true", help="do not measure the speed or predict the time"
    )
    before.add_argument(
        "--rate",
        type=common.number,
        metavar="X",
        help="FLOPs per second and process, instead of measuring them",
    )
    other = parser.add_argument_group("instead of training")
    other.add_argument("--status", action="store_true", help="print the table of a sweep")
    other.add_argument(
        "--script",
        choices=[script.name for script in SCRIPTS],
        help="print a job script: "
        + "; ".join(f"{script.name}: {script.help}" for script in SCRIPTS),
    )
    other.add_argument(
        "--shards",
        type=common.whole,
        metavar="N",
        help="tasks of the job array (default: as many as the plan has independent parts)",
    )
    other.add_argument("--out", metavar="FILE", help="file to write the job script to")
    other.add_argument("--image", metavar="NAME", help="container image (kubernetes)")
    other.add_argument("--claim", metavar="NAME", help="volume claim (kubernetes)")
    common.add_common(parser)
    parser.set_defaults(run=run, render=render, exit_code=exit_code, own_progress=True)


def _shard(text: str) -> tuple[int, int]:
    found = re.fullmatch(r"([0-9]+)/([0-9]+)", text)
    if found is None or not int(found[1]) < int(found[2]):
        raise argparse.ArgumentTypeError(f"{text!r} must be I/N with I from 0 to N-1, e.g. 0/8")
    return int(found[1]), int(found[2])


def run(arguments: argparse.Namespace) -> dict[str, Any]:
    """Check the plan, report its cost, train."""
    from scaling_laws.common import UsageError

    chosen = [name for name in ("status", "script", "dry_run") if getattr(arguments, name)]
    if len(chosen) > 1:
        flags = " and ".join("--" + name.replace("_", "-") for name in chosen)
        raise UsageError(f"{flags} exclude each other")
    if not arguments.checkpoint_every >= 0:
        raise UsageError(
            f"--checkpoint-every {arguments.checkpoint_every} must be a number of seconds >= 0"
        )
    for option in ("shards", "out", "image", "claim"):
        if getattr(arguments, option) is not None and not arguments.script:
            raise UsageError(f"--{option} applies to job scripts; add --script")
    if arguments.status:
        return _status(arguments)
    if arguments.script:
        return _script(arguments)
    return _sweep(arguments)


def _work(arguments: argparse.Namespace) -> Path | None:
    return None if arguments.work is None else Path(arguments.work)


def _status(arguments: argparse.Namespace) -> dict[str, Any]:
    """The table, read from the files of the sweep."""
    from dataclasses import asdict

    from scaling_laws.proxy import known_settings, progress_table, read_plan, read_progress

    plan = read_plan(arguments.plan, known_settings())
    work = _work(arguments)
    progress = read_progress(plan.work if work is None else work.absolute(), plan.runs)
    runs = {run.run: asdict(run) for run in progress}
    return {"runs": runs, "text": progress_table(progress)}


def _script(arguments: argparse.Namespace) -> dict[str, Any]:
    """A job script, printed or written."""
    from scaling_laws.common import check_writable, write_text
    from scaling_laws.proxy import ClusterJob, chains, prepare_sweep, script_text

    file = None if arguments.out is None else check_writable(arguments.out)
    sweep = prepare_sweep(arguments.plan, work=_work(arguments), fleet=arguments.fleet)
    parts = len(chains(sweep.runs))
    options: list[str] = []
    for option in ("fleet", "workers", "checkpoint_every"):
        value = getattr(arguments, option)
        if value is not None and value != 60.0:
            options += ["--" + option.replace("_", "-"), str(value)]
    if arguments.work is not None:
        options += ["--work", str(sweep.work)]
    if arguments.backend not in (None, AUTO):
        options += ["--backend", arguments.backend]
    shards = arguments.shards if arguments.shards is not None else parts
    job = ClusterJob(
        Path(arguments.plan).absolute(), options, shards, arguments.image, arguments.claim
    )
    text = script_text(arguments.script, job)
    if file is None:
        return {"script": arguments.script, "shards": shards, "text": text}
    write_text(file, text)
    return {
        "script": arguments.script,
        "shards": shards,
        "file": str(file),
        "text": f"wrote {file}",
    }


def _sweep(arguments: argparse.Namespace) -> dict[str, Any]:
    from contextlib import ExitStack

    from scaling_laws.common import choose_backend, open_pool
    from scaling_laws.proxy import on_cpu, predict_budget, prepare_sweep, show_progress, train_sweep

    sweep = prepare_sweep(
        arguments.plan, work=_work(arguments), fleet=arguments.fleet, shard=arguments.shard
    )
    options = given_pool(arguments)
    groups = len(sweep.groups)
    backend = choose_backend(options, groups, on_cpu=on_cpu())
    nothing_left = sweep.done >= {row.name for row in sweep.runs}
    measured = not (arguments.no_probe or arguments.rate is not None or nothing_left)
    with ExitStack() as stack:
        pool = None
        if not nothing_left and (measured or not arguments.dry_run):
            pool = stack.enter_context(open_pool(backend, options, groups))
        budget = predict_budget(sweep, pool if measured else None, rate=arguments.rate)
        result: dict[str, Any] = {"backend": backend.name, "budget": _budget(budget)}
        if arguments.dry_run:
            return result | {"dry_run": True, "runs": _planned(sweep)}
        if pool is None:
            return result | {"dry_run": False, "runs": _results(sweep, {})}
        if not arguments.json:
            sys.stderr.write(_budget_text(result["budget"]) + "\n")
        try:
            if not arguments.json or sys.stderr.isatty():
                stack.enter_context(show_progress(sweep.runs, sweep.work, sys.stderr))
            outcomes = train_sweep(sweep, pool, checkpoint_every=arguments.checkpoint_every)
        except KeyboardInterrupt:
            sys.stderr.write("\nrerun the same command to resume from the last checkpoints\n")
            raise
    return result | {"dry_run": False, "runs": _results(sweep, outcomes)}


def _budget(budget: Budget) -> dict[str, Any]:
    from dataclasses import asdict

    return asdict(budget)


def _planned(sweep: Sweep) -> dict[str, Any]:
    """What a dry run reports for every run."""
    return {
        row.name: {
            "set": str(row.folder),
            "state": "finished" if row.name in sweep.done else "waiting",
            "schedule": row.settings["schedule"],
            "steps": sweep.configs[row.name].schedule.steps,
            "from": None if row.parent is None else f"{row.parent.run}@{row.parent.step}",
        }
        for row in sweep.runs
    }


def _results(sweep: Sweep, outcomes: dict[str, Any]) -> dict[str, Any]:
    """The outcome of every run; finished ones are read from their sets."""
    from scaling_laws.proxy import read_curve

    results = {}
    for row in sweep.runs:
        outcome = outcomes.get(row.name)
        if outcome is None:  # nothing was left to do
            loss = float(read_curve(row.folder / f"{row.name}.csv")["loss"][-1])
            state, seconds, error = "skipped", 0.0, ""
        else:
            loss, state = outcome.final_loss, outcome.state
            seconds, error = outcome.seconds, outcome.error
        results[row.name] = {
            "set": str(row.folder),
            "state": state,
            "final_loss": loss,
            "seconds": seconds,
            "steps": sweep.configs[row.name].schedule.steps,
            "error": error or None,
        }
    return results


def exit_code(result: dict[str, Any]) -> int:
    """1 if a run failed, else 0; always 0 for the table of ``--status``."""
    failed = any(run["state"] == "failed" for run in result.get("runs", {}).values())
    return int(failed and "budget" in result)


def render(result: dict[str, Any]) -> str:
    """The budget of a dry run; otherwise one line per run, and the errors."""
    if "text" in result:
        return str(result["text"])
    if result["dry_run"]:
        lines = [_budget_text(result["budget"])]
        lines += [f"{name}: {run['state']}" for name, run in result["runs"].items()]
        return "\n".join(lines)
    lines = []
    for name, run in result["runs"].items():
        if run["state"] == "failed":
            lines.append(f"{name} failed: {run['error']}")
        else:
            lines.append(f"{name} {run['state']}: final loss {run['final_loss']:.4f}")
    states = [run["state"] for run in result["runs"].values()]
    counts = ", ".join(
        f"{states.count(state)} {state}"
        for state in ("finished", "skipped", "failed")
        if state in states
    )
    folders = sorted({run["set"] for run in result["runs"].values()})
    return "\n".join([*lines, f"{counts}; in {', '.join(folders)}"])


def _budget_text(budget: dict[str, Any]) -> str:
    from scaling_laws.proxy import format_duration

    waiting = [group for group in budget["groups"] if group["left"]]
    rows = []
    for group in waiting[:SHOWN]:
        first, *others = group["left"]
        names = first + (f" and {len(others)} more" if others else "")
        flops, steps = f"{group['flops']:.3g}", str(group["steps"])
        rows.append((flops, format_duration(group["seconds"]), steps, names))
    lines = text_table(("FLOPs", "time", "steps", "runs"), rows, left=("runs",)) if rows else []
    if len(waiting) > SHOWN:
        lines.append(f"  and {len(waiting) - SHOWN} more groups")
    runs = sum(len(group["left"]) for group in waiting)
    time = "" if budget["seconds"] is None else f", {format_duration(budget['seconds'])}"
    together = f" on {budget['workers']} processes" if budget["workers"] > 1 else ""
    note = " (without compilation)" if time else ""
    total = f"{runs} runs to train: {budget['flops']:.3g} FLOPs{time}{together}{note}"
    return "\n".join([total, *lines])
