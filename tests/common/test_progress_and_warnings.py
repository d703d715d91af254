"""Progress goes to a logger; warnings point at the caller."""

from __future__ import annotations

import logging
import runpy
import warnings
from pathlib import Path

import pytest

import scaling_laws.common.warnings as package_warnings
from scaling_laws.common import LOGGER_NAME, report_progress, warn
from scaling_laws.common.warnings import DataWarning, ScalingLawsWarning


@pytest.mark.parametrize(
    ("counts", "message"),
    [((), "starts"), ((3,), "starts, 3"), ((3, 10), "starts, 3 of 10"), ((0, 0), "starts, 0 of 0")],
)
def test_progress_is_logged(
    caplog: pytest.LogCaptureFixture, counts: tuple[int, ...], message: str
) -> None:
    with caplog.at_level(logging.INFO, logger=LOGGER_NAME):
        report_progress("starts", *counts)
    (record,) = caplog.records
    assert (record.name, record.levelno) == (LOGGER_NAME, logging.INFO)
    assert record.getMessage() == message
    done, total = (*counts, None, None)[:2]
    assert (record.stage, record.done, record.total) == ("starts", done, total)  # type: ignore[attr-defined]


def test_progress_is_silent_by_default(
    caplog: pytest.LogCaptureFixture, capsys: pytest.CaptureFixture[str]
) -> None:
    with caplog.at_level(logging.WARNING, logger=LOGGER_NAME):
        report_progress("starts", 1, 2)
    assert not caplog.records
    assert capsys.readouterr() == ("", "")


def test_every_warning_class_is_a_user_warning() -> None:
    classes = [
        getattr(package_warnings, name) for name in package_warnings.__all__ if name != "warn"
    ]
    assert len(classes) == len(ScalingLawsWarning.__subclasses__()) + 1
    for cls in classes:
        assert issubclass(cls, ScalingLawsWarning) and issubclass(cls, UserWarning)


def here() -> int:
    """Line of the statement that issues the warning."""
    warn("thinned", DataWarning)  # the line that is expected
    return 0


def test_a_warning_points_at_its_caller() -> None:
    with pytest.warns(DataWarning, match="thinned") as caught:
        here()
    assert caught[0].filename == __file__
    line = Path(__file__).read_text().splitlines()[caught[0].lineno - 1]
    assert line.endswith("# the line that is expected")


def test_frames_of_the_package_are_skipped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A warning issued two calls deep in the package is attributed to the first caller outside."""
    package = tmp_path / "package"
    package.mkdir()
    (package / "inner.py").write_text(
        "from scaling_laws.common.warnings import DataWarning, warn\n"
        "def public():\n    return private()\n"
        "def private():\n    warn('deep', DataWarning)\n"
    )
    monkeypatch.setattr(package_warnings, "PACKAGE", f"{package}/")
    public = runpy.run_path(str(package / "inner.py"))["public"]
    with pytest.warns(DataWarning, match="deep") as caught:
        public()  # the outer call
    assert caught[0].filename == __file__
    assert (
        Path(__file__).read_text().splitlines()[caught[0].lineno - 1].endswith("# the outer call")
    )


def test_a_folder_with_a_similar_name_is_not_the_package(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    script = tmp_path / "package_user.py"
    script.write_text(
        "from scaling_laws.common.warnings import DataWarning, warn\nwarn('flat', DataWarning)\n"
    )
    monkeypatch.setattr(package_warnings, "PACKAGE", str(tmp_path / "package") + "/")
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        runpy.run_path(str(script))
    assert [warning.filename for warning in caught] == [str(script)]
