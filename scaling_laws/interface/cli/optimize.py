"""`scaling-laws optimize`: search for the schedule with the lowest predicted final loss."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING, Any

from scaling_laws.common import UsageError
from scaling_laws.interface.cli import common

if TYPE_CHECKING:
    from scaling_laws.decisions import Optimum

__all__ = ["add_parser", "describe", "render", "run"]


def add_parser(verbs: common.Verbs) -> None:
    """Add the verb."""
    parser = verbs.add_parser(
        "optimize",
        help="search for a better schedule",
        description="Search for the schedule with the lowest predicted final loss.",
    )
    parser.add_argument("law", metavar="LAW.json", help=common.LAW_HELP)
    parser.add_argument("--steps", type=common.whole, metavar="T", help="total steps")
    parser.add_argument(
        "--tokens", type=float, metavar="N", help="total tokens, in place of --steps"
    )
    parser.add_argument(
        "--tokens-per-step", type=float, metavar="N", help="default: what the law file says"
    )
    common.add_frame_options(parser)
    parser.add_argument("--out", metavar="FILE.csv", help="write the schedule, one row a step")
    limits = parser.add_argument_group("what is given")
    limits.add_argument(
        "--prefix",
        metavar="SPEC",
        help="schedule of the updates already done, warm-up among them: a spec or csv:FILE",
    )
    limits.add_argument(
        "--cooldown-from", type=common.whole, metavar="STEP", help="hold the peak up to STEP"
    )
    limits.add_argument(
        "--max-change",
        type=float,
        metavar="X",
        help="largest change of the LR in a step after the warm-up, as a share of the peak",
    )
    limits.add_argument(
        "--fix",
        action="append",
        default=[],
        type=_pin,
        metavar="STEP=LR",
        help="a rate that the schedule must have; may be repeated",
    )
    limits.add_argument(
        "--allow-rewarm", action="store_true", help="let the LR rise again after the warm-up"
    )
    aims = parser.add_argument_group("what is searched for")
    aims.add_argument(
        "--objective",
        choices=("final", "upper"),
        default="final",
        help="the predicted final loss (default), or the upper end of its interval: robust",
    )
    aims.add_argument(
        "--horizons",
        metavar="T1,T2,...",
        help="the loss counts after each of these steps too: a run that may be stopped there",
    )
    aims.add_argument(
        "--branches",
        action="store_true",
        help="with --horizons: one main run, and a cooldown of its own to each of them",
    )
    aims.add_argument(
        "--search-weight-decay",
        type=common.number_or_range,
        metavar="LOW:HIGH",
        help="search the weight decay of every step too, with a law that knows it",
    )
    common.add_fact_options(parser, "facts of the run that override the law file's")
    common.add_common(parser)
    parser.set_defaults(run=run, render=render)


def _pin(text: str) -> tuple[int, float]:
    step, equals, rate = text.partition("=")
    if not equals:
        raise argparse.ArgumentTypeError(f"{text!r} is not STEP=LR, e.g. 20000=1e-4")
    return common.whole(step), common.number(rate)


def run(arguments: argparse.Namespace) -> dict[str, Any]:
    """Search and return the keys of the interface."""
    from scaling_laws.common import check_writable
    from scaling_laws.decisions import optimize, optimize_branches
    from scaling_laws.models import schedule

    if arguments.out:
        check_writable(arguments.out)
    decays = arguments.search_weight_decay
    if isinstance(decays, float):
        raise UsageError(f"--search-weight-decay {decays:g}: give a range, LOW:HIGH")
    fitted = common.read_law(arguments.law)
    horizons = _horizons(arguments.horizons)
    prefix = None if arguments.prefix is None else schedule(arguments.prefix)
    frame: dict[str, Any] = {
        "steps": _steps(arguments, fitted.facts.get("tokens_per_step")),
        "peak": arguments.peak,
        "warmup": arguments.warmup,
        "end_min": arguments.end_min,
        "facts": common.given_facts(arguments),
    }
    if arguments.branches:
        return _branches(arguments, optimize_branches, fitted, frame, horizons)
    best = optimize(
        fitted,
        **frame,
        prefix=prefix,
        cooldown_from=arguments.cooldown_from,
        max_change=arguments.max_change,
        fixed=dict(arguments.fix),
        allow_rewarm=arguments.allow_rewarm,
        objective=arguments.objective,
        horizons=horizons,
        weight_decay=decays,
        seed=arguments.seed,
    )
    if arguments.out:
        from scaling_laws.models import write_schedule

        write_schedule(arguments.out, best.schedule, weight_decay=best.weight_decay)
    size = None if arguments.tokens is None else arguments.tokens / best.schedule.steps
    return describe(best, arguments.out, size)


def _steps(arguments: argparse.Namespace, per_step: float | None) -> int:
    """Total steps, as they are given or from tokens."""
    if (arguments.steps is None) == (arguments.tokens is None):
        raise UsageError("give either --steps T or --tokens N, and only one")
    if arguments.steps is not None:
        return int(arguments.steps)
    size = arguments.tokens_per_step or per_step
    if size is None:
        raise UsageError("--tokens needs --tokens-per-step N: the law file does not say it")
    if not size > 0:
        raise UsageError(f"--tokens-per-step {size:g} must be > 0")
    return round(float(arguments.tokens) / float(size))


def _horizons(text: str | None) -> list[int] | None:
    try:
        return None if text is None else [common.whole(part) for part in common.names_in(text)]
    except argparse.ArgumentTypeError as error:
        raise UsageError(f"--horizons {text}: {error}") from None


def describe(
    best: Optimum, file: str | None, tokens_per_step: float | None = None
) -> dict[str, Any]:
    """An optimum as the keys of the interface."""
    shape = {"steps": best.schedule.steps, "tokens_per_step": tokens_per_step}
    return {**best.as_json(), **shape, "schedule_file": file}


def render(result: dict[str, Any]) -> str:
    """The found schedule against the baselines."""
    if "branches" in result:
        return _render_branches(result)
    plain = result["objective"] == "final loss"
    best = result["final_loss"]
    lines = [
        f"best: {best:.5f}  {common.interval_text(result['interval_90'])}  {result['spec']}",
        f"best of the families: {result['family_value']:.5f}  {result['family']['spec']}",
    ]
    if result["family"]["spec"] == "free form":
        lines[1] = "no family has a member that keeps to the limits"
    if not plain:
        lines.insert(1, f"searched for the lowest {result['objective']}: {result['value']:.5f}")
    if len(result["horizons"]) > 1:
        each = ", ".join(f"{end} steps {loss:.5f}" for end, loss in result["horizons"].items())
        lines.append(f"predicted loss after {each}")
    if result["weight_decay"] is not None:
        each = ", ".join(f"{name} {value:.4g}" for name, value in result["weight_decay"].items())
        lines.append(f"weight decay found with it: {each} (a column of the written file)")
    if result["tokens_per_step"] is not None:
        lines.append(f"{result['steps']} steps of {result['tokens_per_step']:g} tokens")
    lines += _baselines(result, plain)
    for spec, loss in result["passed_over"].items():
        lines.append(f"passed over: {loss:.5f}  {spec} (a short moving average removes its gain)")
    lines += [f"note: {note}" for note in result["notes"]]
    lines.append(_evidence(result))
    if result["schedule_file"]:
        lines.append(f"wrote {result['schedule_file']} ({result['seconds']:.1f} s)")
    else:
        lines.append("pass --out FILE.csv to write the schedule, one row a step")
    return "\n".join(lines)


def _baselines(result: dict[str, Any], plain: bool) -> list[str]:
    """What the schedule gains on each baseline; in the objective where that is no final loss."""
    measured = plain and result["interval_90"] is not None
    what = "predicted final loss" if plain else result["objective"]
    interval = ", 90 % interval of that" if measured else ""
    lines = [f"baselines ({what}, what the best gains on them{interval}):"]
    values = result["baseline_values"]
    for spec, value in sorted(values.items(), key=lambda item: float(item[1])):
        ends = result["gains"][spec]["interval_90"] if measured else None
        text = "" if ends is None else f"  [{ends[0]:+.4f}, {ends[1]:+.4f}]"
        broken = result["broken"].get(spec)
        words = "" if broken is None else f" (not allowed: {broken})"
        lines.append(f"  {value:.5f}  {value - result['value']:+.5f}{text}  {spec}{words}")
    allowed = [spec for spec in values if spec not in result["broken"]]
    if not allowed:
        return lines
    nearest = min(allowed, key=lambda spec: float(values[spec]))
    if measured and not result["gains"][nearest]["distinguishable"]:
        lines.append(
            f"The gain over the best baseline ({values[nearest] - result['value']:.5f}) is within "
            "the law's error: not distinguishable until both are trained."
        )
    return lines


def _evidence(result: dict[str, Any]) -> str:
    """What shows that the search has ended and exploits nothing."""
    outside = ", ".join(
        f"{name} {value:.2g}{'' if name == 'lowest_lr' else ' doublings'}"
        for name, value in result["distance"].items()
    )
    return (
        f"search: {result['starts_at_best']} of {len(result['starts'])} starts agree to 1e-5, "
        f"slope left {result['steepest_gain']:.1g} nats, smoothing moves it by "
        f"{result['roughness']:.1g}" + (f"; outside the fitted range: {outside}" if outside else "")
    )


def _branches(
    arguments: argparse.Namespace,
    search: Any,
    fitted: Any,
    frame: dict[str, Any],
    horizons: list[int] | None,
) -> dict[str, Any]:
    """One main run with a cooldown to each horizon."""
    for flag in ("prefix", "cooldown_from", "max_change", "search_weight_decay"):
        if getattr(arguments, flag) is not None:
            raise UsageError(f"--branches does not go with --{flag.replace('_', '-')}")
    if arguments.fix or arguments.allow_rewarm or arguments.objective != "final":
        raise UsageError("--branches does not go with --fix, --allow-rewarm or --objective upper")
    if isinstance(arguments.peak, tuple):
        raise UsageError("--branches needs one --peak, not a range")
    if horizons is None:
        raise UsageError("--branches needs --horizons T1,T2,...: where the branches end")
    best = search(fitted, horizons=horizons, **frame)
    result = {**best.as_json(), "schedule_file": arguments.out}
    if arguments.out:
        from pathlib import Path

        from scaling_laws.models import write_schedule

        main = Path(arguments.out)
        write_schedule(main, best.trunk)
        for row, each in zip(result["branches"], best.branches, strict=True):
            file = main.with_name(f"{main.stem}_{each.schedule.steps}{main.suffix}")
            row["schedule_file"] = str(write_schedule(file, each.schedule))
    return result


def _render_branches(result: dict[str, Any]) -> str:
    lines = [
        f"main run with {len(result['branches'])} cooldowns ({result['shape']}, the last "
        f"{100 * result['share']:.0f} % of each): mean final loss {result['value']:.5f}",
        "  steps   cooldown from   final loss   90 % interval        alone (best single schedule)",
    ]
    for each in result["branches"]:
        lines.append(
            f"  {each['steps']:>7} {each['start']:>13}   {each['final_loss']:.5f}      "
            f"{common.interval_text(each['interval_90'])}  {each['alone']:.5f}"
        )
    lines.append(
        f"updates in all: {result['updates']} (trained apart: {result['updates_apart']}); "
        f"the main run's LR goes from {result['peak']:g} to {result['trunk_end']:g}"
    )
    lines += [f"note: {note}" for note in result["notes"]]
    if result["schedule_file"]:
        lines.append(f"wrote the main run to {result['schedule_file']} ({result['seconds']:.1f} s)")
        lines += [f"wrote {each['schedule_file']}" for each in result["branches"]]
    else:
        lines.append("pass --out FILE.csv to write the schedules of the main run and the branches")
    return "\n".join(lines)
