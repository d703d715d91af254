"""`scaling-laws predict`: the loss of schedules that were not run."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING, Any

from scaling_laws.common import UsageError, to_float
from scaling_laws.interface.cli import common

if TYPE_CHECKING:
    from scaling_laws.inference import CurveFit, PointFit
    from scaling_laws.models import Schedule

__all__ = ["add_parser", "render", "run"]


def add_parser(verbs: common.Verbs) -> None:
    """Add the verb."""
    parser = verbs.add_parser(
        "predict",
        help="predict the loss of unseen schedules",
        description="Predict the loss of schedules under a fitted law, or the value of a tabular "
        "law at given inputs.",
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
        help="inputs of a tabular law, e.g. model_params=7e9,tokens=1.4e12; may be repeated",
    )
    parser.add_argument(
        "--every",
        type=common.whole,
        default=0,
        metavar="K",
        help="predict every K-th step and the last one (default: about 200 steps in total)",
    )
    parser.add_argument("--out", metavar="FILE.csv", help="write the predicted curves")
    common.add_fact_options(parser, "facts about the run (override the law file)")
    common.add_common(parser)
    parser.set_defaults(run=run, render=render)


def run(arguments: argparse.Namespace) -> dict[str, Any]:
    """Predict and return the keys of the interface."""
    from scaling_laws.common import check_writable
    from scaling_laws.inference import PointFit
    from scaling_laws.models import schedule

    if arguments.out:
        check_writable(arguments.out)
    schedules = [schedule(spec) for spec in arguments.schedule]
    fitted = common.read_law(arguments.law)
    if isinstance(fitted, PointFit):
        return _at(fitted, arguments)
    if arguments.at:
        raise UsageError(
            f"{fitted.law.name} predicts from a schedule: give --schedule SPEC, not --at"
        )
    if not schedules:
        raise UsageError("--schedule SPEC is missing, e.g. --schedule cosine:peak=3e-4,steps=24000")
    facts = common.given_facts(arguments)
    predictions = []
    for target in schedules:
        traces = _weight_decay_in_file(target, fitted)
        every = arguments.every or max(1, target.steps // 200)
        # counted back from the last step, which is always predicted
        steps = list(range((target.steps - 1) % every, target.steps, every))
        predictions.append(fitted.predict(target, steps, facts=facts, traces=traces))
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


def _weight_decay_in_file(target: Schedule, fitted: CurveFit) -> dict[str, Any]:
    """The weight decay of each step where a schedule file has it and the law uses it."""
    from pathlib import Path

    from scaling_laws.common import read_columns, read_header

    file = Path(target.spec.strip().removeprefix("csv:"))
    known = fitted.law.uses_weight_decay
    if not (known and target.spec.startswith("csv:") and file.is_file()):
        return {}
    if "weight_decay" not in read_header(file):
        return {}
    weight_decay = read_columns(file, ["weight_decay"])["weight_decay"]
    return {"weight_decay": weight_decay} if len(weight_decay) == target.steps else {}


def _at(fitted: PointFit, arguments: argparse.Namespace) -> dict[str, Any]:
    """The value of a tabular law at the inputs of ``--at``."""
    law = fitted.law
    form = ",".join(f"{name}=..." for name in law.input_names)
    if arguments.schedule or arguments.out or arguments.every:
        raise UsageError(f"{law.name} does not take a schedule; give --at {form}")
    if not arguments.at:
        raise UsageError(f"{law.name} needs --at {form}")
    points = []
    for text in arguments.at:
        inputs = {}
        for part in text.split(","):
            name, _, number = (piece.strip() for piece in part.partition("="))
            if name in inputs:
                raise UsageError(f"--at {text}: {name} is given twice; give it once")
            try:
                inputs[name] = to_float(number)
            except ValueError:
                raise UsageError(f"--at {text}: {part!r} is not NAME=NUMBER") from None
        prediction = fitted.at(**inputs)
        interval = None
        if prediction.uncertainty is not None:
            low, high = prediction.interval(0.9)
            interval = [float(low), float(high)]
        points.append(
            {
                "inputs": inputs,
                law.output: float(prediction.value),
                "interval_90": interval,
                "notes": list(prediction.notes),
            }
        )
    return {"law": law.name, "output": law.output, "unit": law.unit, "points": points}


def render(result: dict[str, Any]) -> str:
    """Values with intervals and notes; final losses are sorted, the lowest first."""
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
    for prediction in sorted(result["schedules"], key=lambda one: float(one["final_loss"])):
        interval = common.interval_text(prediction["interval_90"])
        lines.append(f"  {prediction['final_loss']:.5f}  {interval}  {prediction['spec']}")
        lines += [f"           note: {note}" for note in prediction["notes"]]
    if result["file"]:
        lines.append(f"wrote {result['file']}")
    return "\n".join(lines)
