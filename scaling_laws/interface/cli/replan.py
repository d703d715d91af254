"""`scaling-laws replan`: forecast a run in progress and improve its remaining schedule."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING, Any

from scaling_laws.common import UsageError
from scaling_laws.interface.cli import common
from scaling_laws.interface.report.text_table import text_table

if TYPE_CHECKING:
    from scaling_laws.data import Run
    from scaling_laws.decisions import Replan

__all__ = ["add_parser", "render", "run"]


def add_parser(verbs: common.Verbs) -> None:
    """Add the verb."""
    parser = verbs.add_parser(
        "replan",
        help="forecast a run in progress and improve its remaining schedule",
        description="From the log of a run so far and the schedule it follows: the expected final "
        "loss, a better schedule for the remaining steps, when to start the cooldown for a given "
        "budget, and the loss of stopping at each step.",
    )
    parser.add_argument(
        "log",
        metavar="RUN",
        help="FILE.csv with columns step,loss[,lr], FOLDER:name, or the JSON history of a Weights "
        "& Biases run",
    )
    parser.add_argument(
        "--law",
        metavar="LAW.json",
        help=f"{common.LAW_HELP}; fitted to earlier runs, preferably similar to this one",
    )
    parser.add_argument(
        "--law-name",
        metavar="NAME",
        help="without --law: the law whose prior is used (default norm_clock)",
    )
    parser.add_argument(
        "--schedule",
        metavar="SPEC",
        help="the whole schedule that the run follows (default: from dataset.toml, or from the "
        "config in the log if the logged learning rates confirm it)",
    )
    parser.add_argument(
        "--steps", type=common.whole, help="total steps of the best schedule (default: as planned)"
    )
    parser.add_argument(
        "--budgets",
        metavar="N,N,...",
        help="total steps for which to find the best cooldown (default: a few, up to twice the "
        "planned steps)",
    )
    parser.add_argument(
        "--end-min",
        type=common.number,
        default=0.0,
        metavar="X",
        help="lowest learning rate allowed (default 0)",
    )
    parser.add_argument(
        "--allow-rewarm",
        action="store_true",
        help="allow the LR of the best schedule to rise again",
    )
    parser.add_argument(
        "--at-step",
        type=common.whole,
        metavar="N",
        help="use only losses up to step N, to try this on a finished log",
    )
    parser.add_argument(
        "--loss-key",
        metavar="KEY",
        help="loss key of a JSON log (default: a validation loss, if any)",
    )
    parser.add_argument(
        "--repeats",
        choices=("last", "first"),
        help="JSON logs: which row to use for a step logged again after a restart (default last)",
    )
    parser.add_argument(
        "--out", metavar="FILE.csv", help="write the best schedule, one row per step"
    )
    parser.add_argument("--plot", metavar="FILE.png", help="figure to write")
    common.add_run_options(parser)
    common.add_common(parser)
    parser.set_defaults(run=run, render=render, from_step=None)


def run(arguments: argparse.Namespace) -> dict[str, Any]:
    """Replan and return the keys of the interface."""
    from scaling_laws.common import check_writable

    for path in (arguments.out, arguments.plot):
        if path:
            check_writable(path)
    if arguments.law and arguments.law_name:
        raise UsageError("give --law or --law-name, not both")
    budgets = _budgets(arguments.budgets)
    law = common.read_curve_fit(arguments.law) if arguments.law else arguments.law_name
    logged, notes = _read(arguments)
    from scaling_laws.decisions import replan

    outcome = replan(
        logged,
        law=law,
        steps=arguments.steps,
        budgets=budgets,
        end_min=arguments.end_min,
        allow_rewarm=arguments.allow_rewarm,
        at_step=arguments.at_step,
        from_step=arguments.from_step,
        seed=arguments.seed,
    )
    if arguments.out:
        from scaling_laws.models import write_schedule

        write_schedule(arguments.out, outcome.best.schedule)
    if arguments.plot:
        _draw(outcome, arguments.plot)
    result = outcome.as_json()
    result["best"]["schedule_file"] = arguments.out
    result["notes"] = [*notes, *result["notes"]]
    return {"run": logged.name, **result, "plot": arguments.plot}


def _budgets(text: str | None) -> list[int] | None:
    if text is None:
        return None
    budgets = []
    for word in common.names_in(text):
        try:
            budgets.append(common.whole(word))
        except argparse.ArgumentTypeError as error:
            raise UsageError(f"--budgets {text}: {error}; give e.g. 30000,40000") from None
    if not budgets:
        raise UsageError(f"--budgets {text!r} contains no step count; give e.g. 30000,40000")
    return sorted(set(budgets))


def _read(arguments: argparse.Namespace) -> tuple[Run, list[str]]:
    """The run, from a table or a log, and notes about how it was read."""
    from scaling_laws.data import is_log, load_runs, read_log, read_run, run_of

    facts, path = common.given_facts(arguments), arguments.log
    if is_log(path):
        for option in ("warmup", "between"):
            if getattr(arguments, option) is not None:
                raise UsageError(
                    f"--{option} applies to tables, but {path} is a log; give --schedule SPEC"
                )
        log = read_log(path, repeats=arguments.repeats or "last")
        imported = run_of(
            log,
            spec=arguments.schedule,
            key=arguments.loss_key,
            facts=facts,
            window=arguments.window,
        )
        return imported.run, list(imported.notes)
    for option in ("loss_key", "repeats"):
        if getattr(arguments, option) is not None:
            flag = option.replace("_", "-")
            raise UsageError(f"--{flag} applies to JSON logs, but {path} is a table; omit it")
    options = {"facts": facts, "window": arguments.window}
    options |= {"warmup": arguments.warmup, "between": arguments.between}
    if arguments.schedule is not None and ":" in path and not path.endswith(".csv"):
        raise UsageError(
            f"{path}: with --schedule, give the file itself, FOLDER/name.csv, not FOLDER:name"
        )
    if arguments.schedule is not None:
        before = arguments.at_step  # from there on the schedule may differ from the log
        return read_run(path, spec=arguments.schedule, before=before, **options), []
    runs = load_runs(path, **options)
    if len(runs) != 1:
        raise UsageError(
            f"{path} contains {len(runs)} runs; choose one with FOLDER:name, from {', '.join(runs)}"
        )
    return next(iter(runs.values())), []


def _draw(outcome: Replan, path: str) -> None:
    from scaling_laws.interface.report.figures import save_figure
    from scaling_laws.interface.report.replan_plots import plot_replan

    save_figure(plot_replan(outcome), path)


def render(result: dict[str, Any]) -> str:
    """State of the run, forecast, best schedule, cooldowns, and the loss of stopping."""
    now, plan, best = result["now"], result["plan"], result["best"]
    interval = common.interval_text
    cooldowns = [
        (
            str(cooldown["steps"]),
            str(cooldown["start"]),
            cooldown["shape"],
            f"{cooldown['final_loss']:.4f}",
            interval(cooldown["interval_90"]),
        )
        for cooldown in result["cooldowns"]
    ]
    stopping = [
        (
            str(stop["step"]),
            "-" if stop["stopped_now"] is None else f"{stop['stopped_now']:.4f}",
            f"{stop['cooled_down']:.4f}",
            interval(stop["interval_90"]),
            str(stop["start"]),
        )
        for stop in result["stopping"]
    ]
    lines = [
        f"run {result['run']}",
        f"now   step {now['step']} of {plan['steps']}, loss {now['loss']:.4f}, LR {now['lr']:.3g}",
        f"plan  {plan['final_loss']:.4f}  {interval(plan['interval_90'])}  at step "
        f"{plan['steps']}  {plan['spec']}",
        f"best  {best['final_loss']:.4f}  {interval(best['interval_90'])}  at step "
        f"{best['steps']}  {best['spec']}",
        f"      {_verdict(best)}",
        "      (predicted final losses in nats, 90 % intervals)",
        "",
        "keep the current LR, then cool down:",
        *text_table(
            ("steps", "start", "shape", "loss", "90 % interval"),
            cooldowns,
            left=("shape", "90 % interval"),
        ),
        "",
        "if the run ended at a step: as planned, or after a linear cooldown from the given start",
        *text_table(
            ("steps", "as planned", "cooled down", "90 % interval", "start"),
            stopping,
            left=("90 % interval",),
        ),
        "",
    ]
    lines += [f"note: {note}" for note in result["notes"]]
    if best["schedule_file"]:
        lines.append(f"wrote {best['schedule_file']}: the best schedule, one row per step")
    else:
        lines.append("pass --out FILE.csv to write the best schedule, one row per step")
    if result["plot"]:
        lines.append(f"wrote {result['plot']}")
    return "\n".join(lines)


def _verdict(best: dict[str, Any]) -> str:
    """The gain of the best schedule, and whether it is distinguishable from zero."""
    gain = best["gain"]
    if gain is None:
        return "not comparable with the plan, whose length differs"
    if gain == 0:
        return "no better schedule than the current plan was found"
    text = f"gains {gain:.4f}  {common.interval_text(best['gain_interval_90'])}  over the plan"
    if best["distinguishable"]:
        return text
    return f"{text}: not distinguishable, since the interval contains 0"
