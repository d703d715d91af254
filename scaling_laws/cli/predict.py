"""`scaling-laws predict`: the loss of schedules that were never run."""

from __future__ import annotations

import argparse
from typing import Any

from scaling_laws.cli import common

__all__ = ["add_parser", "render", "run"]


def add_parser(verbs: common.Verbs) -> None:
    """Add the verb."""
    parser = verbs.add_parser(
        "predict",
        help="predict the loss of unseen schedules",
        description="Predict the loss of schedules under a fitted law.",
    )
    parser.add_argument("law", metavar="LAW.json", help="law file")
    parser.add_argument(
        "--schedule",
        action="append",
        required=True,
        metavar="SPEC",
        help="e.g. wsd:peak=3e-4,steps=24000,warmup=500,decay_fraction=0.2; may be repeated "
        "(families: scaling-laws schedules)",
    )
    parser.add_argument(
        "--every",
        type=common.whole,
        default=0,
        metavar="K",
        help="predict every K-th step and the last (default: about 200 steps in all)",
    )
    parser.add_argument("--out", metavar="FILE.csv", help="write the predicted curves")
    common.add_common(parser)
    parser.set_defaults(run=run, render=render)


def run(arguments: argparse.Namespace) -> dict[str, Any]:
    """Predict and return the keys of the interface."""
    from scaling_laws.files import check_writable
    from scaling_laws.fitted import load_law
    from scaling_laws.schedules import schedule

    if arguments.out:
        check_writable(arguments.out)
    plans = [schedule(spec) for spec in arguments.schedule]
    fitted = load_law(arguments.law)
    predictions = []
    for plan in plans:
        every = arguments.every or max(1, plan.steps // 200)
        # counted back from the last step, which is always predicted
        steps = list(range((plan.steps - 1) % every, plan.steps, every))
        predictions.append(fitted.predict(plan, steps))
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
        from scaling_laws.report.tables import write_predictions

        write_predictions(arguments.out, predictions)
    return {"law": fitted.law.name, "schedules": results, "file": arguments.out}


def render(result: dict[str, Any]) -> str:
    """Final losses, best first, with intervals and notes."""
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
