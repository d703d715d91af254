"""`scaling-laws predict`: the loss of schedules that were never run."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING, Any

from scaling_laws.common import UsageError
from scaling_laws.interface.cli import common

if TYPE_CHECKING:
    from scaling_laws.inference import FittedLaw
    from scaling_laws.models import Schedule

__all__ = ["add_parser", "render", "run"]


def add_parser(verbs: common.Verbs) -> None:
    """Add the verb."""
    parser = verbs.add_parser(
        "predict",
        help="predict the loss of unseen schedules",
        description="Predict the loss of schedules under a fitted law; or, under a law of sizes "
        "and data, what it gives at some inputs.",
    )
    parser.add_argument("law", metavar="LAW.json", help=common.LAW_HELP)
    parser.add_argument(
        "--schedule",
        action="append",
        default=[],
        metavar="SPEC",
        help="e.g. wsd:peak=3e-4,steps=24000,warmup=500,decay_fraction=0.2; may be repeated "
        "(families: scaling-laws schedules)",
    )
    parser.add_argument(
        "--at",
        action="append",
        default=[],
        metavar="INPUTS",
        help="inputs of a law of sizes and data, e.g. model_params=7e9,tokens=1.4e12; may be "
        "repeated",
    )
    parser.add_argument(
        "--every",
        type=common.whole,
        default=0,
        metavar="K",
        help="predict every K-th step and the last (default: about 200 steps in all)",
    )
    parser.add_argument("--out", metavar="FILE.csv", help="write the predicted curves")
    common.add_fact_options(parser, "facts of the run that override the law file's")
    common.add_common(parser)
    parser.set_defaults(run=run, render=render)


def run(arguments: argparse.Namespace) -> dict[str, Any]:
    """Predict and return the keys of the interface."""
    from scaling_laws.common import check_writable
    from scaling_laws.models import PointLaw, schedule

    if arguments.out:
        check_writable(arguments.out)
    plans = [schedule(spec) for spec in arguments.schedule]
    fitted = common.read_law(arguments.law)
    if isinstance(fitted.law, PointLaw):
        return _at(fitted, arguments)
    if arguments.at:
        raise UsageError(f"{fitted.law.name} needs --schedule SPEC, not --at")
    if not plans:
        raise UsageError("--schedule SPEC is missing, e.g. --schedule cosine:peak=3e-4,steps=24000")
    facts = common.given_facts(arguments)
    predictions = []
    for plan in plans:
        traces = _decay_beside(plan, fitted)
        every = arguments.every or max(1, plan.steps // 200)
        # counted back from the last step, which is always predicted
        steps = list(range((plan.steps - 1) % every, plan.steps, every))
        predictions.append(fitted.predict(plan, steps, facts=facts, traces=traces))
    results = []
    for prediction in predictions:
        interval = None
        if prediction.uncertainty is not None:
            low, high = prediction.interval(0.9)
            interval = [float(low[-1]), float(high[-1])]
        results.append(
            {
                "spec": prediction.schedule.spec,
                "final_loss": prediction.final_loss,
                "interval_90": interval,
                "notes": list(prediction.notes),
                "steps": prediction.steps.tolist(),
                "loss": prediction.loss.tolist(),
            }
        )
    if arguments.out:
        from scaling_laws.interface.report.prediction_table import write_predictions

        write_predictions(arguments.out, predictions)
    return {"law": fitted.law.name, "schedules": results, "file": arguments.out}


def _decay_beside(plan: Schedule, fitted: FittedLaw) -> dict[str, Any]:
    """The weight decay of each step that a file holds beside its rates, for a law that knows it."""
    from pathlib import Path

    from scaling_laws.common import read_columns, read_header

    file = Path(plan.spec.strip().removeprefix("csv:"))
    known = fitted.schedule_law.uses_weight_decay
    if not (known and plan.spec.startswith("csv:") and file.is_file()):
        return {}
    if "weight_decay" not in read_header(file):
        return {}
    row = read_columns(file, ["weight_decay"])["weight_decay"]
    return {"weight_decay": row} if len(row) == plan.steps else {}


def _at(fitted: FittedLaw, arguments: argparse.Namespace) -> dict[str, Any]:
    """What a point law gives at the inputs asked for."""
    law = fitted.point_law
    wanted = ",".join(f"{name}=..." for name in law.input_names)
    if arguments.schedule or arguments.out or arguments.every:
        raise UsageError(f"{law.name} knows no schedule; ask --at {wanted}")
    if not arguments.at:
        raise UsageError(f"{law.name} needs --at {wanted}")
    points = []
    for text in arguments.at:
        inputs = {}
        for part in text.split(","):
            name, _, number = (piece.strip() for piece in part.partition("="))
            if name in inputs:
                raise UsageError(f"--at {text}: {name} is given twice; keep one")
            try:
                inputs[name] = float(number)
            except ValueError:
                raise UsageError(f"--at {text}: {part!r} is not name=number") from None
        found = fitted.at(**inputs)
        interval = None
        if found.uncertainty is not None:
            low, high = found.interval(0.9)
            interval = [float(low), float(high)]
        points.append(
            {
                "inputs": inputs,
                law.output: float(found.value),
                "interval_90": interval,
                "notes": list(found.notes),
            }
        )
    return {"law": law.name, "output": law.output, "unit": law.unit, "points": points}


def render(result: dict[str, Any]) -> str:
    """Final losses, best first, with intervals and notes."""
    if "points" in result:
        lines = [f"{result['law']}: {result['output']} in {result['unit']}, 90 % interval"]
        for point in result["points"]:
            inputs = ", ".join(f"{name}={value:g}" for name, value in point["inputs"].items())
            value = point[result["output"]]
            interval = common.interval_text(point["interval_90"], ".6g")
            lines.append(f"  {value:.6g}  {interval}  {inputs}")
            lines += [f"           note: {note}" for note in point["notes"]]
        return "\n".join(lines)
    lines = [f"{result['law']}: predicted final loss in nats, 90 % interval"]
    for each in sorted(result["schedules"], key=lambda each: float(each["final_loss"])):
        lines.append(
            f"  {each['final_loss']:.5f}  {common.interval_text(each['interval_90'])}  "
            f"{each['spec']}"
        )
        lines += [f"           note: {note}" for note in each["notes"]]
    if result["file"]:
        lines.append(f"wrote {result['file']}")
    return "\n".join(lines)
