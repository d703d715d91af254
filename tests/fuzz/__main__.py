"""A campaign: `python -m tests.fuzz` (100,000 inputs and 500 faults; about an hour on two cores).

Prints and, with --out, writes the table of docs/robustness.md. Exits with 1 if an input was wrong
or hung, or a fault lost something.
"""

from __future__ import annotations

import argparse
import resource
import shlex
import sys
import time
from pathlib import Path

from scaling_laws.common import write_text

PAGE = """\
# Robustness

Written by `python -m {command}`; CI runs a part of it.
Every input is a valid file after one to four random changes: numbers, tokens, bits, lines, spans
and parts of other files. *Wrong* means an exception that is not an error of the package, a message
of more than one printable line, a warning of a library, or an accepted value that cannot be, such
as a loss that is not finite. *Hung* means more than 30 seconds.

{inputs}

A fault kills, interrupts or starves a command at a random time. It *survives* if the files are
those from before or from after the command, and the same command then completes.

{faults}

Seed {seed}, {seconds:.0f} s, slowest input {slowest:.1f} s, largest memory {memory:.1f} GB.
"""


def main() -> int:
    """Run a campaign and write its table."""
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__)
    parser.add_argument("--inputs", type=int, default=100_000, help="number of mutated inputs")
    parser.add_argument("--faults", type=int, default=500, help="number of faults")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--keep", type=Path, help="folder for inputs that are wrong or hung")
    parser.add_argument("--out", type=Path, help="page to write, docs/robustness.md")
    parser.add_argument(
        "--imports-only", action="store_true", help="no faults in commands that need JAX"
    )
    arguments = parser.parse_args()
    began = time.perf_counter()

    # processes are forked from this one, so they come before anything that starts threads
    from tests.fuzz.faults import try_faults

    found: list[str] = []
    fault_rows = ["| fault | tried | survived | lost |", "|---|---|---|---|"]
    for name, tried, lost in try_faults(
        arguments.faults, arguments.seed, imports_only=arguments.imports_only
    ):
        fault_rows.append(f"| {name} | {tried:,} | {tried - len(lost):,} | {len(lost):,} |")
        sys.stdout.write(fault_rows[-1] + "\n")
        sys.stdout.flush()
        found += lost

    from tests.fuzz.inputs import KINDS, try_inputs

    outcomes = ("accepted", "refused", "wrong", "hung")
    input_rows = [f"| input | tried | {' | '.join(outcomes)} |", "|---|---|---|---|---|---|"]
    whole, slowest = sum(kind.weight for kind in KINDS), 0.0
    for kind in KINDS:
        count = round(arguments.inputs * kind.weight / whole)
        outcome = try_inputs(kind, count, arguments.seed, arguments.keep)
        numbers = " | ".join(f"{outcome.counts[name]:,}" for name in outcomes)
        input_rows.append(f"| {kind.name} | {count:,} | {numbers} |")
        sys.stdout.write(input_rows[-1] + "\n")
        sys.stdout.flush()
        slowest = max(slowest, outcome.slowest)
        found += outcome.faults
    sys.stdout.writelines(f"{fault}\n" for fault in found)
    if arguments.out is not None:
        memory = max(
            resource.getrusage(who).ru_maxrss
            for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)
        )
        text = PAGE.format(
            inputs="\n".join(input_rows),
            faults="\n".join(fault_rows),
            command=shlex.join(["tests.fuzz", *sys.argv[1:]]),
            seed=arguments.seed,
            seconds=time.perf_counter() - began,
            slowest=slowest,
            memory=memory * 1024 / 1e9,
        )
        write_text(arguments.out, text)
    return int(bool(found))


if __name__ == "__main__":
    sys.exit(main())
