"""Seeded faults: whether the test suite notices them; writes `faults.md`.

python -m benchmarks.faults [--only NAME ...] [--list] [--workers N] [--results FILE]

Each entry of `faults.toml` changes one place of the package, in a temporary copy of the tree, and
names the tests that ought to fail. Half an hour on two cores; with `--results`, an interrupted
measurement continues where it ended, and faults that were missed are run again.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import tomllib
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import asdict, dataclass
from pathlib import Path

from scaling_laws.common import UsageError, unknown_name
from scaling_laws.common.files import write_text

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent
LIMIT = 600.0  # seconds of a fault's tests; a fault that makes them hang is noticed
COPIED = ("scaling_laws", "tests", "benchmarks", "data", "docs", "notebooks")  # and files beside
FAILED = re.compile(r"^(?:FAILED|ERROR) (\S+\.py(?:::[^\s\[]+)?)", re.MULTILINE)
PASSED, TESTS_FAILED, INTERRUPTED = 0, 1, 2  # exit codes of pytest


@dataclass(frozen=True)
class Fault:
    """One change of one file.

    Attributes:
        name: of the fault.
        what: the change, in words.
        file: path from the root of the repository.
        old: text that occurs exactly once in the file.
        new: its replacement.
        tests: files, folders or single tests (FILE::NAME) that ought to fail.
        missed_at_first: whether the tests first named for it did not notice it.
    """

    name: str
    what: str
    file: str
    old: str
    new: str
    tests: tuple[str, ...]
    missed_at_first: bool = False

    @property
    def group(self) -> str:
        """Group and unit of the file, such as ``models: laws``."""
        group, unit = Path(self.file).with_suffix("").parts[1:3]
        return f"{group}: {unit}"

    def applied(self, root: Path) -> str:
        """The text of the changed file.

        Raises:
            UsageError: if the old text does not occur exactly once.
        """
        text = (root / self.file).read_text(encoding="utf-8")
        count = text.count(self.old)
        if count != 1:
            raise UsageError(
                f"fault {self.name!r}: {self.old!r} occurs {count} times in {self.file}, not once; "
                "correct benchmarks/faults.toml",
                path=root / self.file,
                value=self.old,
            )
        return text.replace(self.old, self.new)


@dataclass(frozen=True)
class Outcome:
    """What the tests made of a fault.

    Attributes:
        name: of the fault.
        caught_by: the first test that failed; empty if none did.
        timed_out: whether the tests did not end within `LIMIT` seconds, which counts as caught.
    """

    name: str
    caught_by: str
    timed_out: bool = False

    @property
    def missed(self) -> bool:
        """Whether no test noticed the fault."""
        return not self.caught_by and not self.timed_out

    @property
    def words(self) -> str:
        """The outcome for a table."""
        if self.timed_out:
            return f"the limit of {LIMIT:.0f} s"
        return f"`{self.caught_by}`" if self.caught_by else "**missed**"


def read_faults(path: Path = HERE / "faults.toml") -> dict[str, Fault]:
    """The faults by name, in the order of the file."""
    tables = tomllib.loads(path.read_text(encoding="utf-8"))
    return {
        name: Fault(name, **{**fields, "tests": tuple(fields["tests"])})
        for name, fields in tables.items()
    }


def copy_tree(target: Path) -> None:
    """Copy what tests read; the copy has no neighbours, so tests of public curves are skipped."""
    unwanted = shutil.ignore_patterns("__pycache__")
    for item in ROOT.iterdir():
        if item.name in COPIED:
            shutil.copytree(item, target / item.name, ignore=unwanted)
        elif item.is_file() and item.name != ".git":
            shutil.copy2(item, target / item.name)


def run_tests(
    root: Path, tests: Sequence[str], limit: float | None
) -> subprocess.CompletedProcess[str]:
    """Run tests of a copy until one fails.

    Raises:
        subprocess.TimeoutExpired: after `limit` seconds.
    """
    environment = {
        **os.environ,
        "PYTHONPATH": str(root),
        "PYTHONDONTWRITEBYTECODE": "1",
        "CI": "1",  # the same examples of properties every time
    }
    return subprocess.run(
        [sys.executable, "-m", "pytest", "-x", "-q", "-p", "no:cacheprovider", *tests],
        cwd=root,
        env=environment,
        capture_output=True,
        text=True,
        timeout=limit,
    )


def attempt(fault: Fault) -> Outcome:
    """Apply a fault to a copy and run its tests.

    Raises:
        UsageError: if the old text does not occur exactly once, or no test ran.
    """
    with tempfile.TemporaryDirectory(prefix="fault-") as folder:
        root = Path(folder) / "tree"
        root.mkdir()
        copy_tree(root)
        write_text(root / fault.file, fault.applied(root))
        try:
            process = run_tests(root, fault.tests, LIMIT)
        except subprocess.TimeoutExpired:
            return Outcome(fault.name, "", timed_out=True)
    if process.returncode == PASSED:
        return Outcome(fault.name, "")
    failed = FAILED.search(process.stdout)
    if process.returncode not in (TESTS_FAILED, INTERRUPTED) or failed is None:
        raise UsageError(
            f"fault {fault.name!r}: pytest {' '.join(fault.tests)} ended with code "
            f"{process.returncode}: {(process.stdout + process.stderr)[-500:]}"
        )
    return Outcome(fault.name, failed[1])


def control(outcomes: Iterable[Outcome]) -> None:
    """Run the tests that failed on an unchanged copy.

    Raises:
        UsageError: if one of them fails there too: it then shows nothing.
    """
    tests = sorted({outcome.caught_by for outcome in outcomes if outcome.caught_by})
    with tempfile.TemporaryDirectory(prefix="fault-") as folder:
        root = Path(folder) / "tree"
        root.mkdir()
        copy_tree(root)
        process = run_tests(root, tests, None)
    if process.returncode != PASSED:
        raise UsageError(f"tests fail without a fault too: {process.stdout[-1000:]}")


def page(faults: Iterable[Fault], outcomes: Mapping[str, Outcome]) -> str:
    """The text of `faults.md`."""
    listed = list(faults)
    missed = sum(outcomes[fault.name].missed for fault in listed)
    timed_out = sum(outcomes[fault.name].timed_out for fault in listed)
    added = sum(fault.missed_at_first for fault in listed)
    lines = [
        "# Seeded faults",
        "",
        f"{len(listed)} faults were seeded one at a time into a copy of the package "
        f"(`python -m benchmarks.faults`, [the changes](faults.toml)); {len(listed) - missed} were "
        f"caught by a test, {missed} were missed. The third column is the first test that failed; "
        "without a fault, all of these tests pass. A fault is also caught if its tests do not end "
        f"within {LIMIT:.0f} s: this happened {timed_out} times. Tests of the public curves were "
        "not run, so that the result is that of any checkout.",
        "",
        f"{added} faults were missed by the tests first named for them (tests elsewhere were not "
        "tried); these are marked, and a test was added, or an existing one extended, for each.",
        "",
        "| group | fault | caught by |",
        "|---|---|---|",
        *(_row(fault, outcomes[fault.name]) for fault in listed),
        "",
    ]
    return "\n".join(lines)


def _row(fault: Fault, outcome: Outcome) -> str:
    mark = " (missed at first)" if fault.missed_at_first else ""
    return f"| {fault.group} | {fault.what} | {outcome.words}{mark} |"


def stored(path: Path | None) -> dict[str, Outcome]:
    """Outcomes of an earlier call, without the missed faults."""
    if path is None or not path.exists():
        return {}
    rows = (json.loads(line) for line in path.read_text(encoding="utf-8").splitlines())
    outcomes = {row["name"]: Outcome(**row) for row in rows}
    return {name: outcome for name, outcome in outcomes.items() if not outcome.missed}


def measure(
    faults: Sequence[Fault], workers: int, results: Path | None = None
) -> dict[str, Outcome]:
    """The outcomes of faults by name; each is printed, and added to the results, at once."""
    outcomes = {}
    with ThreadPoolExecutor(workers) as threads:
        for future in as_completed([threads.submit(attempt, fault) for fault in faults]):
            outcome = future.result()
            outcomes[outcome.name] = outcome
            print(f"{outcome.name}: {outcome.words}", flush=True)
            if results is not None:
                with results.open("a", encoding="utf-8") as file:
                    file.write(json.dumps(asdict(outcome)) + "\n")
    return outcomes


def main() -> int:
    """Seed the faults; 1 if one was missed."""
    parser = argparse.ArgumentParser(description=__doc__, allow_abbrev=False)
    parser.add_argument("--only", action="append", metavar="NAME", help="one fault; no page")
    parser.add_argument("--list", action="store_true", help="print the faults and their tests")
    parser.add_argument("--workers", type=int, default=1, metavar="N", help="faults at a time")
    parser.add_argument("--results", type=Path, metavar="FILE", help="keep outcomes, and continue")
    arguments = parser.parse_args()
    faults = read_faults()
    for fault in faults.values():
        fault.applied(ROOT)  # all of them, before the first is run
    if arguments.list:
        for fault in faults.values():
            print(f"{fault.name} ({fault.group}): {fault.what}; {' '.join(fault.tests)}")
        return 0
    for name in arguments.only or ():
        if name not in faults:
            raise UsageError(unknown_name("fault", name, faults), value=name)
    chosen = [faults[name] for name in arguments.only or faults]
    outcomes = stored(arguments.results)
    left = [fault for fault in chosen if fault.name not in outcomes]
    outcomes |= measure(left, arguments.workers, arguments.results)
    if not arguments.only:
        control(outcomes[fault.name] for fault in chosen)
        write_text(HERE / "faults.md", page(chosen, outcomes))
    missed = [fault.name for fault in chosen if outcomes[fault.name].missed]
    print(f"{len(chosen)} faults, {len(missed)} missed: {', '.join(missed) or 'none'}")
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
