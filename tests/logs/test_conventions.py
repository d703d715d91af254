"""Which update a loss or a rate belongs to, per trainer, from the output that it writes."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path

import numpy as np
import pytest

import scaling_laws as sl
from scaling_laws.data.importing import Options, import_logs
from scaling_laws.data.logs import read_log, read_tables, run_of

LAST, EVERY = 40, 10
SPEC = f"cosine:peak=1e-3,steps={LAST}"
RATES = np.append(sl.schedule(SPEC).lr, 0.0)  # one more, for the next update


def loss_after(updates: int) -> float:
    """The loss of a model that has had a number of updates."""
    return round(3 + 5 / (1 + updates), 4)


def nanogpt() -> str:
    lines = []
    for step in range(0, LAST + 1, EVERY):  # the loop ends with an evaluation at max_iters
        loss = loss_after(step)
        lines.append(f"step {step}: train loss {loss:.4f}, val loss {loss:.4f}")
        lines.append(f"iter {step}: loss {loss:.4f}, time 25.10ms, mfu 30.00%")
    return "\n".join(lines)


def llmc() -> str:
    lines = []
    for step in range(LAST):
        if step % EVERY == 0:
            lines.append(f"s:{step} tel:{loss_after(step):.4f}")
        lines.append(f"s:{step} trl:{loss_after(step):.4f} lr:{RATES[step]:.9f} norm:0.5")
    return "\n".join([*lines, f"s:{LAST} tel:{loss_after(LAST):.4f}"])


def nanochat() -> str:
    lines = []
    for step in range(LAST + 1):
        if step % EVERY == 0:
            lines.append(f"Step {step:05d} | Validation bpb: {loss_after(step):.6f}")
        if step < LAST:
            lines.append(
                f"step {step:05d}/{LAST:05d} (0.00%) | loss: 3.000000 | lrm: 1.00 | dt: 9.00ms |"
            )
    return "\n".join(lines)


def modded() -> str:
    return "\n".join(
        f"step:{step}/{LAST} val_loss:{loss_after(step):.4f} train_time:9ms step_avg:nanms "
        f"vram:16.3/23.5GB tokens:{step}e3 handoff:none"
        for step in range(0, LAST + 1, EVERY)
    )


def neox() -> str:
    lines = []
    for done in range(EVERY, LAST + 1, EVERY):
        lines.append(
            f" samples/sec: 31.001 | iteration {done:8d}/{LAST:8d} | elapsed time per iteration "
            f"(ms): 33032.6 | learning rate: {RATES[done]:.3E} | approx flops per GPU: 60.2TFLOPS "
            f"| lm_loss: {loss_after(done):.6E} | number of nan iterations:   0 |"
        )
        lines.append(
            f" validation results at iteration {done} | lm_loss value: {loss_after(done):.6E} | "
            "lm_loss_ppl value: 1.3E+01 | "
        )
    return "\n".join(lines)


@pytest.mark.parametrize(
    ("text", "reader", "key"),
    [
        (nanogpt(), "nanogpt", "val loss"),
        (llmc(), "llmc", "tel"),
        (nanochat(), "nanochat", "validation bpb"),
        (modded(), "modded_nanogpt", "val_loss"),
        (neox(), "megatron", "lm_loss validation"),
    ],
)
def test_a_validation_loss_includes_the_updates_before_it(
    tmp_path: Path, text: str, reader: str, key: str
) -> None:
    """A loss at step `s` of a set includes updates 0 to `s`; the last one is within the run."""
    log = tmp_path / "train.log"
    log.write_text(text + "\n")
    assert read_tables(log)[0].name == reader
    (report,) = import_logs(
        [log], tmp_path / "set", options=Options(loss_key=key, schedule=SPEC)
    ).reports
    (run,) = sl.load_runs(tmp_path / "set").values()
    wanted = [step - 1 for step in range(EVERY, LAST + 1, EVERY)]
    assert run.steps.tolist() == wanted
    assert run.loss.tolist() == [loss_after(step + 1) for step in wanted]
    assert report.points == len(wanted)


@pytest.mark.parametrize(
    ("text", "key"), [(nanogpt(), "val loss"), (llmc(), "tel"), (neox(), "lm_loss validation")]
)
def test_a_log_as_a_run_counts_in_the_same_way(tmp_path: Path, text: str, key: str) -> None:
    """As `replan` reads the log of a run in progress."""
    log = tmp_path / "train.log"
    log.write_text(text + "\n")
    run = run_of(read_log(log), spec=SPEC, key=key).run
    assert run.steps.tolist() == [step - 1 for step in range(EVERY, LAST + 1, EVERY)]
    assert run.loss.tolist() == [loss_after(int(step) + 1) for step in run.steps]


Record = Mapping[str, float]


def hugging_face() -> Iterable[tuple[int, Record]]:
    for done in range(EVERY, LAST + 1, EVERY):
        yield (
            done,
            {
                "train/loss": loss_after(done),
                "train/learning_rate": RATES[done - 1],
                "train/epoch": done / LAST,
            },
        )


def megatron() -> Iterable[tuple[int, Record]]:
    for done in range(EVERY, LAST + 1, EVERY):
        yield done, {"lm loss": loss_after(done), "learning-rate": RATES[done]}


def neox_tracked() -> Iterable[tuple[int, Record]]:
    for done in range(EVERY, LAST + 1, EVERY):
        yield done, {"train/lm_loss": loss_after(done), "train/learning_rate": RATES[done]}


def event_folder(folder: Path, rows: Iterable[tuple[int, Record]]) -> Path:
    writers = pytest.importorskip("tensorboardX")
    with writers.SummaryWriter(str(folder)) as writer:
        for step, record in rows:
            for tag, value in record.items():
                writer.add_scalar(tag, value, step)
    return folder


def csv_file(folder: Path, rows: Iterable[tuple[int, Record]]) -> Path:
    listed = list(rows)
    file = folder.with_suffix(".csv")
    header = ",".join(["train/global_step", *listed[0][1]])
    lines = (",".join(map(repr, (step, *map(float, record.values())))) for step, record in listed)
    file.write_text("\n".join([header, *lines]) + "\n")
    return file


@pytest.mark.parametrize("write", [event_folder, csv_file])
@pytest.mark.parametrize(
    ("rows", "window"), [(hugging_face, EVERY), (megatron, 1), (neox_tracked, 1)]
)
def test_trackers_count_as_their_trainer(tmp_path: Path, write, rows, window: int) -> None:  # type: ignore[no-untyped-def]
    options = Options(schedule=SPEC)
    log = write(tmp_path / "run", rows())
    (report,) = import_logs([log], tmp_path / "set", options=options).reports
    (run,) = sl.load_runs(tmp_path / "set").values()
    assert run.steps.tolist() == [step - 1 for step in range(EVERY, LAST + 1, EVERY)]
    assert np.allclose(run.loss, [loss_after(int(step) + 1) for step in run.steps], rtol=1e-6)
    assert report.window == window
    said = " ".join(each.words for each in report.findings)
    assert "to every digit with" not in said  # the rates agree at this offset
    assert "numbered as it does" in said


def test_nanogpt_in_a_tracker(tmp_path: Path) -> None:
    rows = [
        f"{step},{loss_after(step)},{loss_after(step)},{RATES[step]:.9g},30.0\n"
        for step in range(0, LAST + 1, EVERY)
    ]
    log = tmp_path / "history.csv"
    log.write_text("iter,train/loss,val/loss,lr,mfu\n" + "".join(rows))
    import_logs([log], tmp_path / "set", options=Options(loss_key="val/loss", between="linear"))
    (run,) = sl.load_runs(tmp_path / "set").values()
    assert run.steps.tolist() == [9, 19, 29, 39]
    assert np.allclose(run.schedule.lr[10], RATES[10])


def test_other_tables_are_left_alone(tmp_path: Path) -> None:
    log = tmp_path / "a.csv"
    log.write_text("step,train/loss,train/learning_rate\n10,3,1e-3\n")
    (table,) = read_tables(log)[1]
    assert table.first_step == 0 and not table.notes and not table.averaged
