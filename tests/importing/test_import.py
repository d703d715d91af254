"""Logs to sets: what is resolved and said, what is refused, and that the set reads back."""

from __future__ import annotations

import tomllib
from pathlib import Path

import numpy as np
import pytest

import scaling_laws as sl
from scaling_laws.common import transactions
from scaling_laws.common.errors import DataError, OutputError, ScalingLawsError, UsageError
from scaling_laws.data.importing import Options, RunReport, import_logs, inspect_log
from tests.logs.test_readers import MEGATRON

SPEC = "cosine:peak=0.0003,end=3e-05,steps=1000,warmup=100"


def table(folder: Path, *, every: int = 10, name: str = "run.csv", extra: str = "") -> Path:
    """A clean log of a run that follows `SPEC`."""
    plan = sl.schedule(SPEC)
    rows = "".join(
        f"{step},{plan.lr[step]:.8g},{3 + 5 / (step + 9) ** 0.5:.5f}\n"
        for step in range(0, 1000, every)
    )
    file = folder / name
    file.write_text("step,lr,loss\n" + rows + extra)
    return file


def one(folder: Path, log: Path, **options: object) -> tuple[sl.Run, RunReport]:
    found = import_logs([log], folder / "set", options=Options(**options))  # type: ignore[arg-type]
    (run,) = sl.load_runs(folder / "set").values()
    return run, found.reports[0]


def kinds(report: RunReport) -> set[str]:
    return {each.kind for each in report.findings}


def test_a_clean_log(tmp_path: Path) -> None:
    run, report = one(tmp_path, table(tmp_path))
    assert run.schedule.spec == report.schedule == SPEC
    assert run.steps.tolist() == list(range(0, 1000, 10)) and not report.findings
    first = (tmp_path / "set" / "dataset.toml").read_bytes()
    import_logs([tmp_path / "run.csv"], tmp_path / "again")
    assert (tmp_path / "again" / "dataset.toml").read_bytes() == first


def contents(folder: Path) -> dict[Path, bytes]:
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_a_failed_import_leaves_no_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "set").mkdir()
    import_logs([table(tmp_path, every=20)], tmp_path / "set")
    before = contents(tmp_path / "set")

    def fail(*arguments: object) -> None:
        raise OutputError("full disk")

    # the last step of the transaction, before which the set has not changed
    monkeypatch.setattr(transactions.json, "dumps", fail)
    logs = [table(tmp_path), table(tmp_path, name="other.csv")]
    with pytest.raises(OutputError, match="full disk"):
        import_logs(logs, tmp_path / "set", overwrite=True)
    monkeypatch.undo()
    assert contents(tmp_path / "set") == before


@pytest.mark.parametrize(
    ("name", "tidy"),
    [
        ("wandb_history_restarted_cosine", "cosine_to0_50000"),
        ("wandb_history_restarted_wsd", "wsd_linear_0.4_50000"),
    ],
)
def test_raw_histories_equal_the_tidy_sets(
    shared_data: Path, tmp_path: Path, name: str, tidy: str
) -> None:
    run, report = one(tmp_path, shared_data / "raw" / f"{name}.json", loss_key="val/loss")
    wanted = sl.read_run(shared_data / "llama_124m_peak0.001" / f"{tidy}.csv")
    run = run.from_step(int(wanted.steps[0]))
    assert run.steps.tolist() == wanted.steps.tolist()
    np.testing.assert_allclose(run.loss, wanted.loss, atol=6e-6)  # the tidy set has five decimals
    after = run.schedule.warmup
    np.testing.assert_allclose(run.schedule.lr[after:], wanted.schedule.lr[after:], atol=2e-7)
    assert run.facts["weight_decay"] == 0.1 and "repeats" in kinds(report)


def test_restarts_nan_gaps_and_spikes_are_said(tmp_path: Path) -> None:
    log = table(tmp_path, extra="500,0.00018,4\n510,0.00018,nan\n520,0.00018,inf\n")
    text = log.read_text().splitlines()
    del text[30:40]
    step, rate, _ = text[60].split(",")
    text[60] = f"{step},{rate},9.5"
    log.write_text("\n".join(text) + "\n")
    options = {"schedule": SPEC, "repeats": "first"}
    run, report = one(tmp_path, log, **options)
    assert {"repeats", "not_finite", "gaps", "spikes"} <= kinds(report)
    assert 9.5 in run.loss.tolist() and 4.0 not in run.loss.tolist()
    found = import_logs(
        [log],
        tmp_path / "set",
        options=Options(schedule=SPEC, repeats="first", drop_spikes=True),
        overwrite=True,
    )
    (cleaned,) = sl.load_runs(tmp_path / "set").values()
    assert cleaned.steps.size == run.steps.size - 1 and 9.5 not in cleaned.loss.tolist()
    said = tomllib.loads((tmp_path / "set" / "dataset.toml").read_text())
    assert any(each.startswith("spikes") for each in said["runs"]["run"]["import"]["changed"])
    assert found.reports[0].points == cleaned.steps.size


def test_logged_tokens_must_be_those_that_are_given(tmp_path: Path) -> None:
    plan = sl.schedule(SPEC)
    log = tmp_path / "run.csv"
    rows = "".join(f"{s},{plan.lr[s]:.8g},{4 - s / 999},{100 * s}\n" for s in range(0, 1000, 10))
    log.write_text("step,lr,loss,tokens\n" + rows)
    run, _ = one(tmp_path, log, tokens_per_step=100)
    assert run.facts["tokens_per_step"] == 100
    with pytest.raises(UsageError, match="100 tokens per update are logged") as caught:
        import_logs([log], tmp_path / "other", options=Options(tokens_per_step=200))
    assert caught.value.column == "tokens" and not (tmp_path / "other").exists()


def test_the_group_of_the_rate_is_chosen_by_its_number(tmp_path: Path) -> None:
    plan = sl.schedule(SPEC)
    log = tmp_path / "run.csv"
    rows = "".join(
        f"{step},{plan.lr[step]:.8g},{3 * plan.lr[step]:.8g},{4 - step / 999}\n"
        for step in range(0, 1000, 10)
    )
    log.write_text("step,lr-AdamW,lr-AdamW/pg2,loss\n" + rows)
    for group, factor in ((0, 1.0), (2, 3.0)):  # a key without a number is the first group
        found = import_logs([log], tmp_path / f"set{group}", options=Options(lr_group=group))
        (run,) = sl.load_runs(tmp_path / f"set{group}").values()
        np.testing.assert_allclose(run.schedule.lr, factor * plan.lr, rtol=1e-6, atol=1e-12)
        assert "lr" in found.reports[0].keys
    with pytest.raises(UsageError, match="--lr-group 1: no such group"):
        import_logs([log], tmp_path / "none", options=Options(lr_group=1))


def test_megatron_end_to_end(tmp_path: Path) -> None:
    """Updates count from 1, rates are the next update's, losses means since the line before."""
    plan = sl.schedule(SPEC)
    losses = 3 + 5 / np.sqrt(np.arange(1000) + 9.0)
    lines = [
        MEGATRON.format(
            n, 256 * n, plan.lr[n] if n < 1000 else 3e-5, float(losses[n - 10 : n].mean())
        ).replace("/    5000", "/    1000")
        for n in range(10, 1001, 10)
    ]
    log = tmp_path / "train.log"
    log.write_text("".join([*lines[:60], *lines[50:]]))
    run, report = one(tmp_path, log, sequence_length=2048)
    assert run.window == 10 and run.facts["tokens_per_step"] == 256 * 2048
    assert run.steps.tolist() == [n - 1 for n in range(10, 1001, 10)]
    np.testing.assert_allclose(run.schedule.lr[:999], plan.lr[:999], rtol=1e-5)
    np.testing.assert_allclose(run.averaged(losses), run.loss, rtol=1e-6)
    assert {"repeats", "first_step", "lr_offset", "window", "tokens"} <= kinds(report)


def test_counts_in_place_of_steps(tmp_path: Path) -> None:
    plan = sl.schedule(SPEC)
    log = tmp_path / "run.csv"
    rows = "".join(f"{64 * (s + 1)},{plan.lr[s]:.8g},{4 - s / 999}\n" for s in range(0, 1000, 10))
    log.write_text("consumed_samples,lr,loss\n" + rows)
    with pytest.raises(DataError, match="no key is recognised as the step"):
        one(tmp_path, log)
    with pytest.raises(UsageError, match=r"line 2, 'consumed_samples': 64 is 2.133 updates"):
        one(tmp_path, log, samples_per_step=30)
    run, _ = one(tmp_path, log, samples_per_step=64, sequence_length=100)
    assert run.schedule.spec == SPEC and run.facts["tokens_per_step"] == 6400


def test_micro_steps_and_batch_ramps(tmp_path: Path) -> None:
    plan = sl.schedule(SPEC)
    log = tmp_path / "run.csv"
    tokens = np.cumsum(np.where(np.arange(1000) < 500, 100, 200))
    rows = "".join(
        f"{4 * s + 3},{plan.lr[s]:.8g},{4 - s / 999},{tokens[s]}\n" for s in range(0, 1000, 10)
    )
    log.write_text("step,lr,loss,tokens\n" + rows)
    run, report = one(tmp_path, log, steps_per_update=4)
    assert run.schedule.spec == SPEC and run.steps.tolist() == list(range(0, 1000, 10))
    assert "tokens" in kinds(report)
    text = (tmp_path / "set" / "run.csv").read_text().splitlines()
    assert text[0] == "step,lr,loss,tokens" and float(text[1].split(",")[3]) == tokens[0]


def test_files_of_one_run_are_joined(tmp_path: Path) -> None:
    whole = table(tmp_path).read_text().splitlines()
    parts = [tmp_path / "a.csv", tmp_path / "b.csv"]
    parts[0].write_text("\n".join(whole[:60]) + "\n")
    parts[1].write_text("\n".join([whole[0], *whole[50:]]) + "\n")
    found = import_logs(parts, tmp_path / "set", join=True, name="both")
    (run,) = sl.load_runs(tmp_path / "set").values()
    assert run.steps.size == 100 and run.schedule.spec == SPEC
    assert {"joined"} <= kinds(found.reports[0])
    import_logs(parts, tmp_path / "apart", options=Options(between="linear", warmup=0))
    assert set(sl.load_runs(tmp_path / "apart")) == {"a", "b"}


def test_branches_have_their_parents_history(tmp_path: Path) -> None:
    main = "constant:peak=0.001,steps=1000,warmup=50"
    whole = "wsd:peak=0.001,steps=1000,warmup=50,decay=linear,decay_start=800"
    for name, spec, first in (("main", main, 0), ("branch", whole, 800)):
        lr = sl.schedule(spec).lr
        rows = "".join(f"{s},{lr[s]:.8g},{4 - s / 999}\n" for s in range(first, 1000, 10))
        (tmp_path / f"{name}.csv").write_text("step,lr,loss\n" + rows)
    import_logs([tmp_path / "main.csv"], tmp_path / "set")
    found = import_logs(
        [tmp_path / "branch.csv"], tmp_path / "set", options=Options(parent="main@800")
    )
    runs = sl.load_runs(tmp_path / "set")
    assert found.reports[0].schedule == runs["branch"].schedule.spec == whole
    with pytest.raises(UsageError, match="--warmup STEPS, 0 if there was none"):
        import_logs([tmp_path / "branch.csv"], tmp_path / "other")


def test_branches_whose_log_counts_anew(tmp_path: Path) -> None:
    main = "constant:peak=0.001,steps=1000,warmup=50"
    whole = "wsd:peak=0.001,steps=1000,warmup=50,decay=linear,decay_start=800"
    lr = sl.schedule(whole).lr
    for name, first, last, start in (("main", 0, 800, 0), ("anew", 800, 1000, 800)):
        rows = "".join(f"{s - start},{lr[s]:.8g},{4 - s / 999}\n" for s in range(first, last, 10))
        (tmp_path / f"{name}.csv").write_text("step,lr,loss\n" + rows)
    rows = "".join(f"{s},{lr[s]:.8g},{4 - s / 999}\n" for s in range(800, 1000, 10))
    (tmp_path / "whole.csv").write_text("step,lr,loss\n" + rows)
    plain = Options(schedule=main)
    import_logs([tmp_path / "main.csv"], tmp_path / "set", options=plain)
    anew, parent = tmp_path / "anew.csv", Options(parent="main@800")
    with pytest.raises(UsageError, match=r"begins at step 0; .* pass --step-offset 800"):
        import_logs([anew], tmp_path / "set", options=parent)
    offset = Options(parent="main@800", step_offset=800)
    with pytest.raises(UsageError, match="--step-offset 800: the log begins at step 800, after"):
        import_logs([tmp_path / "whole.csv"], tmp_path / "set", options=offset)
    found = import_logs([anew], tmp_path / "set", options=offset)
    import_logs([tmp_path / "whole.csv"], tmp_path / "set", options=parent)
    runs = sl.load_runs(tmp_path / "set")
    assert runs["anew"].schedule == runs["whole"].schedule == sl.schedule(whole)
    assert runs["anew"].steps.tolist() == runs["whole"].steps.tolist()
    assert runs["anew"].loss.tolist() == runs["whole"].loss.tolist()
    assert {"step_offset", "parent"} <= kinds(found.reports[0])
    # inspect prints what it was told
    (seen,) = inspect_log(anew, options=Options(step_offset=800, schedule=whole))
    assert seen.ready and "--step-offset 800" in seen.command


def test_rates_that_no_family_explains(tmp_path: Path) -> None:
    log = tmp_path / "run.csv"
    lr = [3e-4, 1e-4, 2.5e-4, 1.7e-4, 2.9e-4, 0.4e-4]
    log.write_text("step,lr,loss\n" + "".join(f"{10 * i},{x},3.5\n" for i, x in enumerate(lr)))
    with pytest.raises(UsageError, match="no family agrees with them to the printed digits"):
        one(tmp_path, log)
    assert not (tmp_path / "set").exists()
    run, report = one(tmp_path, log, between="hold")
    assert run.schedule.lr[:11].tolist() == [3e-4] * 10 + [1e-4]
    assert report.schedule == "csv:schedules/run.csv"


def test_the_warm_up_is_cut_on_request(tmp_path: Path) -> None:
    run, report = one(tmp_path, table(tmp_path), from_step="warmup")
    assert run.steps[0] == 100 and run.schedule.spec == SPEC and "from_step" in kinds(report)


def bad(folder: Path, text: str) -> Path:
    file = folder / "bad.csv"
    file.write_text(text)
    return file


@pytest.mark.parametrize(
    ("text", "options", "message"),
    [
        ("step,val_loss,train_loss\n0,3,3\n", {}, "several keys may be the loss: val_loss, train_"),
        ("step,iteration,loss\n0,1,3\n", {}, "several keys may be the step: iteration, step"),
        ("step,lr,learning_rate,loss\n0,1,2,3\n", {}, "learning rate: lr, learning_rate; choose"),
        ("step,a\n0,3\n", {}, "no key is recognised as a loss"),
        ("step,loss\n0,3\n", {"loss_key": "los"}, "--loss-key: unknown key 'los'; did you mean"),
        ("step,loss\n0,3\n", {}, "no key is known as a learning rate, so a schedule is required"),
        ("step,loss\n0,nan\n", {"schedule": SPEC}, "no loss is a finite number > 0"),
        (
            "step,loss\n0.5,3\n",
            {"schedule": SPEC},
            r"bad\.csv line 2, 'step': step 0.5 is not a who",
        ),
        ("step,loss\n5000,3\n", {"schedule": SPEC}, "step 5000, beyond the schedule's 1000 steps"),
        ("step,lr,loss\n500,1,3\n", {"schedule": SPEC}, "step 500: 1 is logged where the schedule"),
        ("step,lr,loss\n0,-1,3\n", {}, "-1 is negative"),
        ("step,loss\n2e8,3\n", {"schedule": SPEC}, "is it a number of tokens"),
        ("step,loss\n0,three\n", {"loss_key": "loss"}, "'three' is not a number"),
    ],
)
def test_refused(tmp_path: Path, text: str, options: dict[str, object], message: str) -> None:
    with pytest.raises(ScalingLawsError, match=message):
        one(tmp_path, bad(tmp_path, text), **options)
    assert not (tmp_path / "set").exists()


def test_runs_are_not_replaced_unasked(tmp_path: Path) -> None:
    log = table(tmp_path)
    import_logs([log], tmp_path / "set", about={"title": "mine"})
    before = (tmp_path / "set" / "dataset.toml").read_bytes()
    with pytest.raises(OutputError, match="has a run 'run' already"):
        import_logs([log], tmp_path / "set")
    assert (tmp_path / "set" / "dataset.toml").read_bytes() == before
    import_logs([log], tmp_path / "set", name="other")
    assert set(sl.load_runs(tmp_path / "set")) == {"run", "other"}


def test_inspect_proposes_keys_and_says_what_is_missing(tmp_path: Path) -> None:
    log = bad(tmp_path, "step,val_loss,train_loss\n0,3,3\n10,2,2\n")
    (found,) = inspect_log(log)
    roles = {key.name: key.role for key in found.keys}
    assert roles == {"step": "step", "val_loss": "loss", "train_loss": "loss?"}
    assert not found.ready and "--schedule SPEC" in found.command
    assert "--loss-key val_loss" in found.command
