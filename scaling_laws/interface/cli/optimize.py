"""`scaling-laws optimize`: search for the schedule with the lowest predicted final loss."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING, Any

from scaling_laws.common import UsageError
from scaling_laws.interface.cli import common
from scaling_laws.interface.report.text_table import text_table

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
        "--tokens", type=common.number, metavar="N", help="total tokens, in place of --steps"
    )
    parser.add_argument(
        "--tokens-per-step",
        type=common.number,
        metavar="N",
        help="tokens per optimizer step (default: from the law file)",
    )
    common.add_frame_options(parser)
    parser.add_argument("--out", metavar="FILE.csv", help="write the schedule, one row per step")
    limits = parser.add_argument_group("constraints")
    limits.add_argument(
        "--prefix",
        metavar="SPEC",
        help="schedule of the updates already done, including the warm-up: a spec or csv:FILE",
    )
    limits.add_argument(
        "--cooldown-from",
        type=common.whole,
        metavar="STEP",
        help="keep the peak up to STEP and search only the cooldown",
    )
    limits.add_argument(
        "--max-change",
        type=common.number,
        metavar="X",
        help="largest LR change per step after the warm-up, as a fraction of the peak",
    )
    limits.add_argument(
        "--fix",
        action="append",
        default=[],
        type=_fixed_rate,
        metavar="STEP=LR",
        help="fix the learning rate of a step; may be repeated",
    )
    limits.add_argument(
        "--allow-rewarm", action="store_true", help="allow the LR to rise after the warm-up"
    )
    goals = parser.add_argument_group("objective")
    goals.add_argument(
        "--objective",
        choices=("final", "upper"),
        default="final",
        help="minimize the predicted final loss (default), or the upper end of its 90 %% interval "
        "(a robust choice)",
    )
    goals.add_argument(
        "--horizons",
        metavar="T1,T2,...",
        help="also count the loss after each of these steps, for a run that may stop there",
    )
    goals.add_argument(
        "--branches",
        action="store_true",
        help="with --horizons: one main run with a separate cooldown to each horizon",
    )
    goals.add_argument(
        "--search-weight-decay",
        type=common.number_or_range,
        metavar="LOW:HIGH",
        help="also search the weight decay of every step (needs a law that models it)",
    )
    common.add_fact_options(parser, "facts about the run (override the law file)")
    common.add_common(parser)
    parser.set_defaults(run=run, render=render)


def _fixed_rate(text: str) -> tuple[int, float]:
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
    weight_decay = arguments.search_weight_decay
    if isinstance(weight_decay, float):
        raise UsageError(f"--search-weight-decay {weight_decay:g}: give a range, LOW:HIGH")
    fitted = common.read_curve_fit(arguments.law)
    horizons = _horizons(arguments.horizons)
    prefix = None if arguments.prefix is None else schedule(arguments.prefix)
    limits: dict[str, Any] = {
        "steps": _steps(arguments, fitted.facts.get("tokens_per_step")),
        "peak": arguments.peak,
        "warmup": arguments.warmup,
        "end_min": arguments.end_min,
        "facts": common.given_facts(arguments),
    }
    if arguments.branches:
        return _branches(arguments, optimize_branches, fitted, limits, horizons)
    best = optimize(
        fitted,
        **limits,
        prefix=prefix,
        cooldown_from=arguments.cooldown_from,
        max_change=arguments.max_change,
        fixed=dict(arguments.fix),
        allow_rewarm=arguments.allow_rewarm,
        objective=arguments.objective,
        horizons=horizons,
        weight_decay=weight_decay,
        seed=arguments.seed,
    )
    if arguments.out:
        from scaling_laws.models import write_schedule

        write_schedule(arguments.out, best.schedule, weight_decay=best.weight_decay)
    tokens = arguments.tokens
    per_step = None if tokens is None else tokens / best.schedule.steps
    return describe(best, arguments.out, per_step)


def _steps(arguments: argparse.Namespace, per_step: float | None) -> int:
    """Total steps, given directly or as tokens."""
    if (arguments.steps is None) == (arguments.tokens is None):
        raise UsageError("give either --steps T or --tokens N, not both")
    if arguments.steps is not None:
        return int(arguments.steps)
    per_step = arguments.tokens_per_step or per_step
    if per_step is None:
        raise UsageError("--tokens needs --tokens-per-step N: the law file does not contain it")
    if not per_step > 0:
        raise UsageError(f"--tokens-per-step {per_step:g} must be > 0")
    return round(float(arguments.tokens) / float(per_step))


def _horizons(text: str | None) -> list[int] | None:
    try:
        return None if text is None else [common.whole(part) for part in common.names_in(text)]
    except argparse.ArgumentTypeError as error:
        raise UsageError(f"--horizons {text}: {error}") from None


def describe(
    best: Optimum, file: str | None, tokens_per_step: float | None = None
) -> dict[str, Any]:
    """An optimum as the keys of the interface."""
    length = {"steps": best.schedule.steps, "tokens_per_step": tokens_per_step}
    return {**best.as_json(), **length, "schedule_file": file}


def render(result: dict[str, Any]) -> str:
    """The best schedule and its gains over the baselines."""
    if "branches" in result:
        return _render_branches(result)
    minimizes_final_loss = result["objective"] == "final loss"
    best = result["final_loss"]
    lines = [
        f"best: {best:.5f}  {common.interval_text(result['interval_90'])}  {result['spec']}",
        f"best of the families: {result['family_value']:.5f}  {result['family']['spec']}",
    ]
    if result["family"]["spec"] == "free form":
        lines[1] = "no family has a member that satisfies the constraints"
    if result["family"]["suffices"]:
        lines.append(
            "The gain of the free form over that family member is within the law's error. One line "
            f'is enough: scaling-laws export "{result["family"]["spec"]}" --to TARGET'
        )
    if not minimizes_final_loss:
        lines.insert(1, f"minimized the {result['objective']}: {result['value']:.5f}")
    if len(result["horizons"]) > 1:
        losses = ", ".join(f"{end} steps {loss:.5f}" for end, loss in result["horizons"].items())
        lines.append(f"predicted loss after {losses}")
    if result["weight_decay"] is not None:
        values = ", ".join(f"{name} {value:.4g}" for name, value in result["weight_decay"].items())
        lines.append(f"weight decay of this schedule: {values} (a column of the written file)")
    if result["tokens_per_step"] is not None:
        lines.append(f"{result['steps']} steps of {result['tokens_per_step']:g} tokens")
    lines += _baselines(result, minimizes_final_loss)
    for spec, loss in result["passed_over"].items():
        lines.append(f"rejected: {loss:.5f}  {spec} (a short moving average removes its gain)")
    lines += [f"note: {note}" for note in result["notes"]]
    lines.append(_evidence(result))
    if result["schedule_file"]:
        lines.append(f"wrote {result['schedule_file']} ({result['seconds']:.1f} s)")
    else:
        lines.append("pass --out FILE.csv to write the schedule, one row per step")
    return "\n".join(lines)


def _baselines(result: dict[str, Any], minimizes_final_loss: bool) -> list[str]:
    """The gain over each baseline, in the objective where that is not the final loss."""
    measured = minimizes_final_loss and result["interval_90"] is not None
    objective = "predicted final loss" if minimizes_final_loss else result["objective"]
    interval = ", its 90 % interval" if measured else ""
    lines = [f"baselines ({objective}, gain of the best schedule over it{interval}):"]
    values = result["baseline_values"]
    for spec, value in sorted(values.items(), key=lambda item: float(item[1])):
        ends = result["gains"][spec]["interval_90"] if measured else None
        text = "" if ends is None else f"  [{ends[0]:+.4f}, {ends[1]:+.4f}]"
        broken = result["broken"].get(spec)
        violation = "" if broken is None else f" (not allowed: {broken})"
        lines.append(f"  {value:.5f}  {value - result['value']:+.5f}{text}  {spec}{violation}")
    allowed = [spec for spec in values if spec not in result["broken"]]
    if not allowed:
        return lines
    nearest = min(allowed, key=lambda spec: float(values[spec]))
    if measured and not result["gains"][nearest]["distinguishable"]:
        lines.append(
            f"The gain over the best baseline ({values[nearest] - result['value']:.5f}) is within "
            "the law's error: the two are not distinguishable without training both."
        )
    return lines


def _evidence(result: dict[str, Any]) -> str:
    """Evidence that the search has converged and does not exploit the law."""
    outside = ", ".join(
        f"{name} {value:.2g}{'' if name == 'lowest_lr' else ' doublings'}"
        for name, value in result["distance"].items()
    )
    return (
        f"search: {result['starts_at_best']} of {len(result['starts'])} starts agree to 1e-5, "
        f"remaining slope {result['steepest_gain']:.1g} nats, smoothing changes the loss by "
        f"{result['roughness']:.1g}" + (f"; outside the fitted range: {outside}" if outside else "")
    )


def _branches(
    arguments: argparse.Namespace,
    search: Any,
    fitted: Any,
    limits: dict[str, Any],
    horizons: list[int] | None,
) -> dict[str, Any]:
    """One main run with a cooldown to each horizon."""
    for flag in ("prefix", "cooldown_from", "max_change", "search_weight_decay"):
        if getattr(arguments, flag) is not None:
            raise UsageError(f"--branches cannot be combined with --{flag.replace('_', '-')}")
    if arguments.fix or arguments.allow_rewarm or arguments.objective != "final":
        raise UsageError(
            "--branches cannot be combined with --fix, --allow-rewarm or --objective upper"
        )
    if isinstance(arguments.peak, tuple):
        raise UsageError("--branches needs one --peak, not a range")
    if horizons is None:
        raise UsageError("--branches needs --horizons T1,T2,...: where the branches end")
    best = search(fitted, horizons=horizons, **limits)
    result = {**best.as_json(), "schedule_file": arguments.out}
    if arguments.out:
        from pathlib import Path

        from scaling_laws.models import write_schedule

        main = Path(arguments.out)
        write_schedule(main, best.trunk)
        for entry, branch in zip(result["branches"], best.branches, strict=True):
            file = main.with_name(f"{main.stem}_{branch.schedule.steps}{main.suffix}")
            entry["schedule_file"] = str(write_schedule(file, branch.schedule))
    return result


def _render_branches(result: dict[str, Any]) -> str:
    share = f"the last {100 * result['share']:.0f} % of each"
    rows = [
        (
            str(branch["steps"]),
            str(branch["start"]),
            f"{branch['final_loss']:.5f}",
            common.interval_text(branch["interval_90"]),
            f"{branch['alone']:.5f}",
        )
        for branch in result["branches"]
    ]
    lines = [
        f"main run with {len(rows)} cooldowns ({result['shape']}, {share}): mean final loss "
        f"{result['value']:.5f}",
        *text_table(
            ("steps", "cooldown from", "final loss", "90 % interval", "best single schedule"), rows
        ),
    ]
    lines.append(
        f"total updates: {result['updates']} (as separate runs: {result['updates_apart']}); "
        f"the main run's LR goes from {result['peak']:g} to {result['trunk_end']:g}"
    )
    lines += [f"note: {note}" for note in result["notes"]]
    if result["schedule_file"]:
        lines.append(f"wrote the main run to {result['schedule_file']} ({result['seconds']:.1f} s)")
        lines += [f"wrote {branch['schedule_file']}" for branch in result["branches"]]
    else:
        lines.append("pass --out FILE.csv to write the schedules of the main run and its branches")
    return "\n".join(lines)
