"""`scaling-laws screen`: evaluate schedules by the million."""

from __future__ import annotations

import argparse
import contextlib
import os
import sys
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from scaling_laws.common import UsageError
from scaling_laws.interface.cli import common

if TYPE_CHECKING:
    from scaling_laws.decisions import Cluster, Screening

__all__ = ["add_parser", "render", "run"]


def add_parser(verbs: common.Verbs) -> None:
    """Add the verb."""
    parser = verbs.add_parser(
        "screen",
        help="evaluate schedules by the million",
        description="Evaluate very many members of the schedule families under a fitted law, on "
        "all devices, and look at the lowest again at full length. `optimize` finds one best "
        "schedule; this shows how good all the others are, and how sure their order is.",
    )
    parser.add_argument("law", metavar="LAW.json", help=common.LAW_HELP)
    parser.add_argument(
        "--steps", type=common.whole, required=True, metavar="T", help="total steps"
    )
    common.add_frame_options(parser)
    parser.add_argument(
        "--candidates",
        type=_many,
        default=1_000_000,
        metavar="N",
        help="how many schedules, e.g. 1e6 (the default)",
    )
    parser.add_argument(
        "--families",
        metavar="A,B",
        help="only members of these families (default: all that have a shape to search)",
    )
    parser.add_argument(
        "--draws",
        type=common.whole,
        default=0,
        metavar="N",
        help="rank by the mean over N of the fit's draws, and say how often each is the best",
    )
    parser.add_argument(
        "--top", type=common.whole, default=20, metavar="N", help="how many to show (default 20)"
    )
    parser.add_argument(
        "--tolerance",
        type=float,
        default=5e-5,
        metavar="X",
        help="nats that the screen may be off; decides how finely it looks (default 5e-5)",
    )
    parser.add_argument("--out", metavar="FILE.csv", help="write the ranked schedules")
    scale = parser.add_argument_group("scale")
    scale.add_argument(
        "--devices",
        type=_devices,
        default=None,
        metavar="N",
        help="all (default), or how many of this machine's; on a CPU: N threads of work",
    )
    scale.add_argument(
        "--block",
        type=common.whole,
        default=32,
        metavar="N",
        help="tiles of 1,024 schedules that a device works on at a time (default 32)",
    )
    scale.add_argument(
        "--state",
        metavar="FILE",
        help="keep the progress there; the same command goes on after a kill",
    )
    scale.add_argument(
        "--coordinator",
        metavar="HOST:PORT",
        help="work together with other processes that run the same command: where process 0 "
        "listens; auto under Slurm, Open MPI or on TPUs",
    )
    scale.add_argument("--processes", type=common.whole, metavar="N", help="how many there are")
    scale.add_argument(
        "--process", type=common.whole, metavar="I", help="number of this one, from 0"
    )
    common.add_fact_options(parser, "facts of the run that override the law file's")
    common.add_common(parser)
    parser.set_defaults(run=run, render=render)


def _many(text: str) -> int:
    try:
        value = float(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number") from None
    if not value >= 1 or value != int(value):
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number above 0")
    return int(value)


def _devices(text: str) -> int | None:
    return None if text == "all" else common.whole(text)


def run(arguments: argparse.Namespace) -> dict[str, Any] | None:
    """Screen and return the result; None in all but the first of several processes."""
    from scaling_laws.common import check_writable
    from scaling_laws.decisions import LostProcess, screen

    if arguments.out:
        check_writable(arguments.out)
    cluster = _cluster(arguments)
    fitted = common.read_law(arguments.law)
    _split_processor(arguments.devices)
    try:
        with _stdout_to_stderr() if cluster is not None else contextlib.nullcontext():
            found = screen(
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
        # the runtime of the lost process would hold this one at its exit, or abort it
        sys.stderr.write(f"scaling-laws: {error}\n")
        sys.stderr.flush()
        os._exit(2)
    if cluster is not None and not _speaks():
        return None
    if arguments.out:
        _write(arguments.out, found)
    return {**found.as_json(), "best": found.best.spec, "file": arguments.out}


@contextlib.contextmanager
def _stdout_to_stderr() -> Iterator[None]:
    """The runtime of several processes writes to the standard output, which is for results."""
    sys.stdout.flush()
    kept = os.dup(1)
    os.dup2(2, 1)
    try:
        yield
    finally:
        os.dup2(kept, 1)
        os.close(kept)


def _cluster(arguments: argparse.Namespace) -> Cluster | None:
    from scaling_laws.decisions import Cluster

    if arguments.coordinator is not None:
        return Cluster(arguments.coordinator, arguments.processes, arguments.process)
    for name in ("processes", "process"):
        if getattr(arguments, name) is not None:
            raise UsageError(f"--{name} needs --coordinator HOST:PORT, where process 0 listens")
    return None


def _split_processor(count: int | None) -> None:
    """Make the processor count as so many devices; asked for before JAX has looked for any."""
    import jax

    if count:
        update: Any = jax.config.update  # untyped
        update("jax_num_cpu_devices", count)


def _speaks() -> bool:
    """Whether this process prints: of several only the first."""
    import jax

    return jax.process_index() == 0


def _write(path: str, found: Screening) -> None:
    import csv
    import io

    from scaling_laws.common import write_text

    names = ("spec", "shape", "final_loss", "expected", "best_share", "regret", "roughness")
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow((*names, "low_90", "high_90"))
    for each in found.ranked:
        row = ["" if (value := getattr(each, name)) is None else value for name in names]
        writer.writerow((*row, *(each.interval_90 or ("", ""))))
    write_text(path, buffer.getvalue())


def render(result: dict[str, Any]) -> str:
    """The best, the best of each shape, and what all of them look like."""
    devices = f"{result['devices']} device{'s' * (result['devices'] > 1)}"
    if result["processes"] > 1:
        devices += f" of {result['processes']} processes"
    many = f" under {result['draws']} draws" if result["draws"] > 1 else ""
    lines = [
        f"{result['law']}: {result['candidates']:,} schedules{many} in {result['seconds']:.1f} s "
        f"on {devices}",
        f"best: {result['best']}",
        "",
        *_table("lowest of all", result["ranked"], result["draws"] > 1),
        "",
        *_table("best of each shape", result["best_by_shape"], result["draws"] > 1),
        "",
        _spread(result),
        f"seen through {result['cells']} cells in float32: off by "
        f"{max(result['disagreement'], result['rescored_disagreement']):.0e} nats at most, of a "
        "sample and of those above; these are at full length in float64",
    ]
    if result["margin"] < 2.0 * result["rescored_disagreement"]:
        lines.append(
            f"note: the {result['kept']}th lowest lies only {result['margin']:.0e} above the last "
            "of the list: others may belong in it"
        )
    if any(each["roughness"] > 1e-4 for each in result["ranked"]):
        lines.append(
            "rough: a short moving average of the schedule changes its loss by so much; what the "
            "law promises there is not in the data"
        )
    if result["refused"]:
        lines.append(f"{result['refused']:,} had no finite loss")
    lines += [f"note: {note}" for note in result["notes"]]
    if result["file"]:
        lines.append(f"wrote {result['file']}")
    return "\n".join(lines)


def _table(title: str, rows: list[dict[str, Any]], drawn: bool) -> list[str]:
    measured = any(each["interval_90"] for each in rows)
    head = f"  final loss{'   90 % interval   ' if measured else ''}"
    head += "  expected  best of draws  regret" if drawn else ""
    lines = [title, head]
    for each in rows:
        line = f"  {each['final_loss']:.5f}   "
        if measured:
            line += f"{common.interval_text(each['interval_90'])}  "
        if drawn:
            line += f"{each['expected']:.5f}  {each['best_share']:>12.0%}  {each['regret']:.5f}  "
        rough = each["roughness"]
        lines.append(line + each["spec"] + (f"  (rough: {rough:.0e})" if rough > 1e-4 else ""))
    return lines


def _spread(result: dict[str, Any]) -> str:
    """How many schedules lie how far above the best, from the histogram."""
    counts, edges = result["counts"], result["edges"]
    total, below, words = int(sum(counts)), 0, []
    wanted = [0.01, 0.1, 0.5, 0.9]
    for count, edge in zip(counts, edges, strict=False):
        below += int(count)
        while wanted and below >= wanted[0] * total:
            words.append(f"{wanted.pop(0):.0%} below {float(edge):.3f}")
    return f"of all: {', '.join(words)}" if words else "of all: no histogram"
