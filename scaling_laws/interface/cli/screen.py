"""`scaling-laws screen`: evaluate millions of schedules."""

from __future__ import annotations

import argparse
import contextlib
import logging
import os
import sys
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from scaling_laws.common import UsageError, to_float
from scaling_laws.interface.cli import common
from scaling_laws.interface.report.text_table import text_table

if TYPE_CHECKING:
    from scaling_laws.decisions import Cluster, Screening

__all__ = ["add_parser", "render", "run"]

ROUGH = 1e-4  # nats by which smoothing may change a loss


def add_parser(verbs: common.Verbs) -> None:
    """Add the verb."""
    parser = verbs.add_parser(
        "screen",
        help="evaluate millions of schedules",
        description="Evaluate many members of the schedule families under a fitted law, on all "
        "devices, and re-evaluate the best at full length. `optimize` finds one best schedule; "
        "this shows how good the others are and how certain their order is.",
    )
    parser.add_argument("law", metavar="LAW.json", help=common.LAW_HELP)
    parser.add_argument(
        "--steps", type=common.whole, required=True, metavar="T", help="total steps"
    )
    common.add_frame_options(parser)
    parser.add_argument(
        "--candidates",
        type=_count,
        default=1_000_000,
        metavar="N",
        help="number of schedules, e.g. 1e6 (the default)",
    )
    parser.add_argument(
        "--families",
        metavar="A,B",
        help="only these families (default: all that have searchable parameters)",
    )
    parser.add_argument(
        "--draws",
        type=common.whole,
        default=0,
        metavar="N",
        help="rank by the mean over N of the fit's draws, and report how often each is the best",
    )
    parser.add_argument(
        "--top",
        type=common.whole,
        default=20,
        metavar="N",
        help="number of schedules to list (default 20)",
    )
    parser.add_argument(
        "--tolerance",
        type=common.number,
        default=5e-5,
        metavar="X",
        help="allowed error of the screen in nats; sets its resolution (default 5e-5)",
    )
    parser.add_argument("--out", metavar="FILE.csv", help="write the ranked schedules")
    scale = parser.add_argument_group("scale")
    scale.add_argument(
        "--devices",
        type=_devices,
        default=None,
        metavar="N",
        help="all (default), or the number of local devices to use; splits a CPU into N",
    )
    scale.add_argument(
        "--block",
        type=common.whole,
        default=32,
        metavar="N",
        help="tiles of 1,024 schedules per device and block (default 32)",
    )
    scale.add_argument(
        "--state",
        metavar="FILE",
        help="file for intermediate results; rerun the same command to resume",
    )
    scale.add_argument(
        "--coordinator",
        metavar="HOST:PORT",
        help="share the work with other processes that run the same command: address of process "
        "0, or auto under Slurm, Open MPI or on TPUs",
    )
    scale.add_argument("--processes", type=common.whole, metavar="N", help="number of processes")
    scale.add_argument(
        "--process", type=common.whole, metavar="I", help="index of this process, from 0"
    )
    common.add_fact_options(parser, "facts about the run (override the law file)")
    common.add_common(parser)
    parser.set_defaults(run=run, render=render)


def _count(text: str) -> int:
    try:
        value = to_float(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number") from None
    if not value >= 1 or value != int(value):
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number >= 1")
    return int(value)


def _devices(text: str) -> int | None:
    return None if text == "all" else common.whole(text)


def run(arguments: argparse.Namespace) -> dict[str, Any] | None:
    """Screen and return the result; None in every process but the first."""
    from scaling_laws.common import check_writable
    from scaling_laws.decisions import LostProcess, screen

    if arguments.out:
        check_writable(arguments.out)
    cluster = _cluster(arguments)
    fitted = common.read_curve_fit(arguments.law)
    _split_processor(arguments.devices)
    try:
        with _stdout_to_stderr() if cluster is not None else contextlib.nullcontext():
            screening = screen(
                fitted,
                steps=arguments.steps,
                peak=arguments.peak,
                candidates=arguments.candidates,
                warmup=arguments.warmup,
                end_min=arguments.end_min,
                families=common.names_in(arguments.families) if arguments.families else None,
                top=arguments.top,
                draws=arguments.draws,
                facts=common.given_facts(arguments),
                tolerance=arguments.tolerance,
                devices=arguments.devices if cluster is None else None,
                block=arguments.block,
                cluster=cluster,
                state=arguments.state,
                seed=arguments.seed,
            )
    except LostProcess as error:
        # a normal exit would wait for the lost process in the distributed runtime, or abort there
        logging.shutdown()  # the progress bar
        sys.stderr.write(f"scaling-laws: {error}\n")
        sys.stderr.flush()
        os._exit(2)
    if cluster is not None and not _is_first_process():
        return None
    if arguments.out:
        _write(arguments.out, screening)
    return {**screening.as_json(), "best": screening.best.spec, "file": arguments.out}


@contextlib.contextmanager
def _stdout_to_stderr() -> Iterator[None]:
    """Keep standard output for results: the distributed runtime writes to it."""
    sys.stdout.flush()
    stdout = os.dup(1)
    os.dup2(2, 1)
    try:
        yield
    finally:
        os.dup2(stdout, 1)
        os.close(stdout)


def _cluster(arguments: argparse.Namespace) -> Cluster | None:
    from scaling_laws.decisions import Cluster

    if arguments.coordinator is not None:
        return Cluster(arguments.coordinator, arguments.processes, arguments.process)
    for name in ("processes", "process"):
        if getattr(arguments, name) is not None:
            raise UsageError(f"--{name} needs --coordinator HOST:PORT, the address of process 0")
    return None


def _split_processor(count: int | None) -> None:
    """Make JAX present the CPU as several devices; only works before it has listed them."""
    import jax

    if count:
        update: Any = jax.config.update  # untyped
        update("jax_num_cpu_devices", count)


def _is_first_process() -> bool:
    """Whether this process prints the result."""
    import jax

    return jax.process_index() == 0


def _write(path: str, screening: Screening) -> None:
    import csv
    import io

    from scaling_laws.common import write_text

    names = ("spec", "shape", "final_loss", "expected", "best_share", "regret", "roughness")
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow((*names, "low_90", "high_90"))
    for schedule in screening.ranked:
        fields = {**vars(schedule), "roughness": schedule.smoothing_sensitivity}
        values = [fields[name] for name in names]
        cells = ["" if value is None else value for value in values]
        writer.writerow((*cells, *(schedule.interval_90 or ("", ""))))
    write_text(path, buffer.getvalue())


def render(result: dict[str, Any]) -> str:
    """The best schedules, the best of each shape, and the distribution of all of them."""
    devices = f"{result['devices']} device{'s' * (result['devices'] > 1)}"
    if result["processes"] > 1:
        devices += f" of {result['processes']} processes"
    draws = f" under {result['draws']} draws" if result["draws"] > 1 else ""
    lines = [
        f"{result['law']}: {result['candidates']:,} schedules{draws} in {result['seconds']:.1f} s "
        f"on {devices}",
        f"best: {result['best']}",
        "",
        *_table("lowest losses", result["ranked"], result["draws"] > 1),
        "",
        *_table("best of each shape", result["best_by_shape"], result["draws"] > 1),
        "",
        _spread(result),
        f"screened on {result['cells']} cells in float32, error at most "
        f"{max(result['disagreement'], result['rescored_disagreement']):.0e} nats for a sample and "
        "for the schedules above, whose losses are computed at full length in float64",
    ]
    if result["margin"] < 2.0 * result["rescored_disagreement"]:
        lines.append(
            f"note: the {result['kept']}th lowest lies only {result['margin']:.0e} above the last "
            "of the list: others may belong in it"
        )
    if any(schedule["roughness"] > ROUGH for schedule in result["ranked"]):
        lines.append(
            "rough: a short moving average of the schedule changes its loss by this much; the data "
            "do not support the predicted gain"
        )
    if result["refused"]:
        lines.append(f"{result['refused']:,} schedules had no finite loss")
    lines += [f"note: {note}" for note in result["notes"]]
    if result["file"]:
        lines.append(f"wrote {result['file']}")
    return "\n".join(lines)


def _table(title: str, schedules: list[dict[str, Any]], drawn: bool) -> list[str]:
    measured = any(schedule["interval_90"] for schedule in schedules)
    head = ["final loss"]
    head += ["90 % interval"] if measured else []
    head += ["expected", "best of draws", "regret"] if drawn else []
    rows = []
    for schedule in schedules:
        cells = [f"{schedule['final_loss']:.5f}"]
        if measured:
            cells.append(common.interval_text(schedule["interval_90"]))
        if drawn:
            cells += [f"{schedule['expected']:.5f}", f"{schedule['best_share']:.0%}"]
            cells.append(f"{schedule['regret']:.5f}")
        rough = schedule["roughness"]
        rows.append(
            [*cells, schedule["spec"] + (f"  (rough: {rough:.0e})" if rough > ROUGH else "")]
        )
    return [title, *text_table([*head, "schedule"], rows, left=("schedule",))]


def _spread(result: dict[str, Any]) -> str:
    """Quantiles of the losses of all schedules, from the histogram."""
    counts, edges = result["counts"], result["edges"]
    total, below, words = int(sum(counts)), 0, []
    quantiles = [0.01, 0.1, 0.5, 0.9]
    for count, edge in zip(counts, edges, strict=False):
        below += int(count)
        while quantiles and below >= quantiles[0] * total:
            words.append(f"{quantiles.pop(0):.0%} below {float(edge):.3f}")
    return f"all schedules: {', '.join(words)}" if words else "all schedules: no histogram"
