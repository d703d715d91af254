"""`scaling-laws replan`: what a run in progress will reach, and what to do with what is left."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING, Any

from scaling_laws.common import UsageError
from scaling_laws.interface.cli import common

if TYPE_CHECKING:
    from scaling_laws.data import Run
    from scaling_laws.decisions import Replan

__all__ = ["add_parser", "render", "run"]


def add_parser(verbs: common.Verbs) -> None:
    """Add the verb."""
    parser = verbs.add_parser(
        "replan",
        help="forecast a run in progress and say what to do with it",
        description="From the log of a run so far and the schedule it follows: the final loss to "
        "expect, a better schedule for the steps that are left, when to start the cooldown for a "
        "given budget, and what stopping at each step would cost.",
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
        help=f"{common.LAW_HELP}; fitted to earlier runs, the more like this one the better",
    )
    parser.add_argument(
        "--law-name",
        metavar="NAME",
        help="without --law: the law whose shipped prior is used (default norm_clock)",
    )
    parser.add_argument(
        "--schedule",
        metavar="SPEC",
        help="the current plan, to its end (default: dataset.toml, or the log's settings if the "
        "logged rates confirm them)",
    )
    parser.add_argument(
        "--steps", type=common.whole, help="budget of the best schedule (default: the plan's)"
    )
    parser.add_argument(
        "--budgets",
        metavar="N,N,...",
        help="step counts for which the best cooldown is wanted (default: a few up to twice the "
        "plan)",
    )
    parser.add_argument(
        "--end-min", type=float, default=0.0, metavar="X", help="lowest LR allowed (default 0)"
    )
    parser.add_argument(
        "--allow-rewarm", action="store_true", help="let the best schedule's LR rise again"
    )
    parser.add_argument(
        "--at-step",
        type=common.whole,
        metavar="N",
        help="look from step N and leave out later losses: to try it on a finished log",
    )
    parser.add_argument(
        "--loss-key", metavar="KEY", help="of a JSON log (default: a validation loss, if any)"
    )
    parser.add_argument(
        "--repeats",
        choices=("last", "first"),
        help="of a JSON log: which row of a step that a restart logged again (default last)",
    )
    parser.add_argument("--out", metavar="FILE.csv", help="write the best schedule, one row a step")
    parser.add_argument("--plot", metavar="FILE.png", help="picture to write")
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
        raise UsageError("--law brings its own law; leave --law-name out")
    budgets = _budgets(arguments.budgets)
    given = common.read_law(arguments.law) if arguments.law else arguments.law_name
    logged, notes = _read(arguments)
    from scaling_laws.decisions import replan

    found = replan(
        logged,
        law=given,
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

        write_schedule(arguments.out, found.best.schedule)
    if arguments.plot:
        _draw(found, arguments.plot)
    result = found.as_json()
    result["best"]["schedule_file"] = arguments.out
    result["notes"] = [*notes, *result["notes"]]
    return {"run": logged.name, **result, "plot": arguments.plot}


def _budgets(text: str | None) -> list[int] | None:
    if text is None:
        return None
    found = []
    for word in common.names_in(text):
        try:
            found.append(common.whole(word))
        except argparse.ArgumentTypeError as error:
            raise UsageError(f"--budgets {text}: {error}; write e.g. 30000,40000") from None
    if not found:
        raise UsageError(f"--budgets {text!r} names no step count; write e.g. 30000,40000")
    return sorted(set(found))


def _read(arguments: argparse.Namespace) -> tuple[Run, list[str]]:
    """The run, from a table or a log, and what is to be said about the reading."""
    from scaling_laws.data import is_log, load_runs, read_log, read_run, run_of

    facts, path = common.given_facts(arguments), arguments.log
    if is_log(path):
        for option in ("warmup", "between"):
            if getattr(arguments, option) is not None:
                raise UsageError(
                    f"--{option} is about tables whose schedule is only logged; for {path} pass "
                    "--schedule SPEC"
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
            raise UsageError(f"--{flag} is about JSON logs; {path} is a table, so leave it out")
    ways = {"facts": facts, "window": arguments.window}
    ways |= {"warmup": arguments.warmup, "between": arguments.between}
    if arguments.schedule is not None and ":" in path and not path.endswith(".csv"):
        raise UsageError(
            f"{path}: with --schedule name the file itself, FOLDER/name.csv, not FOLDER:name"
        )
    if arguments.schedule is not None:
        before = arguments.at_step  # another plan from there on is what is asked about
        return read_run(path, spec=arguments.schedule, before=before, **ways), []
    runs = load_runs(path, **ways)
    if len(runs) != 1:
        raise UsageError(
            f"{path} holds {len(runs)} runs; replan takes one: FOLDER:name, of {', '.join(runs)}"
        )
    return next(iter(runs.values())), []


def _draw(found: Replan, path: str) -> None:
    from scaling_laws.interface.report.figures import save_figure
    from scaling_laws.interface.report.replan_plots import plot_replan

    save_figure(plot_replan(found), path)


def render(result: dict[str, Any]) -> str:
    """Where the run stands, what the plan gives, what is better, when to cool down or stop."""
    now, plan, best = result["now"], result["plan"], result["best"]
    interval = common.interval_text
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
        "hold the present LR, then cool down:",
        f"  {'steps':>8}  {'start':>8}  {'shape':<7} {'loss':>7}  90 % interval",
    ]
    for each in result["cooldowns"]:
        lines.append(
            f"  {each['steps']:>8}  {each['start']:>8}  {each['shape']:<7} "
            f"{each['final_loss']:7.4f}  {interval(each['interval_90'])}"
        )
    lines += [
        "",
        "were the run to end at a step, as planned or by a linear cooldown from the start given:",
        f"  {'steps':>8}  {'planned':>8}  {'cooled':>7}  {'90 % interval':<16}  {'start':>8}",
    ]
    for each in result["stopping"]:
        cut = "-" if each["stopped_now"] is None else f"{each['stopped_now']:.4f}"
        lines.append(
            f"  {each['step']:>8}  {cut:>8}  {each['cooled_down']:7.4f}  "
            f"{interval(each['interval_90'])}  {each['start']:>8}"
        )
    lines.append("")
    lines += [f"note: {note}" for note in result["notes"]]
    if best["schedule_file"]:
        lines.append(f"wrote {best['schedule_file']}: the best schedule, one row a step")
    else:
        lines.append("pass --out FILE.csv to write the best schedule, one row a step")
    if result["plot"]:
        lines.append(f"wrote {result['plot']}")
    return "\n".join(lines)


def _verdict(best: dict[str, Any]) -> str:
    """What the best schedule gains, and whether that can be told from nothing."""
    gain = best["gain"]
    if gain is None:
        return "another length than the plan's, so that the two losses do not compare"
    if gain == 0:
        return "nothing better than the current plan was found"
    interval = common.interval_text(best["gain_interval_90"])
    if best["distinguishable"]:
        return f"gains {gain:.4f}  {interval}  on the plan"
    return (
        f"gains {gain:.4f}  {interval}  on the plan: not distinguishable, since the interval "
        "reaches 0"
    )
