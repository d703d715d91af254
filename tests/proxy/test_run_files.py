"""Sets on disk: complete, consistent, and never half written."""

from __future__ import annotations

import importlib
import platform
import tomllib
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from scaling_laws.common import transactions
from scaling_laws.common.errors import DataError, OutputError, ProxyError
from scaling_laws.data.runs import load_runs
from scaling_laws.models.parameters import FACTS
from scaling_laws.models.schedules import Schedule, schedule
from scaling_laws.proxy import (
    Destination,
    TrainedCurve,
    check_destination,
    config_of,
    default_name,
    differing_facts,
    write_run,
)
from scaling_laws.proxy.training.run_files import finished_settings, read_curve
from tests.proxy.conftest import SPEC, TINY, make_corpus

write = importlib.import_module("scaling_laws.proxy.training.run_files")


def manifest(folder: Path) -> dict:
    return tomllib.loads((folder / "dataset.toml").read_text())


def test_a_written_run_reads_back(configure, logged: TrainedCurve, tmp_path: Path) -> None:
    config = configure()
    folder = tmp_path / "new" / "set"
    files = write_run(
        Destination(folder, "first"), config, logged, command="the command", license_text="MIT"
    )
    assert files == [folder / "first.csv", folder / "dataset.toml"]
    left = {path for path in folder.iterdir() if path.name != ".dataset.lock"}
    assert left == set(files)  # no temporary file
    facts = manifest(folder)
    assert facts["size"] == "tiny" and facts["optimizer"] == "adamw" and facts["license"] == "MIT"
    assert facts["corpus_hash"] == config.corpus.digest and facts["weight_decay"] == 0.1
    assert facts["model_params"] == TINY.parameters and facts["tokens_per_step"] == 64
    assert {"title", "source", "loss", "corpus", "python", "jax", "optax", "numpy"} <= facts.keys()
    assert facts["runs"] == {
        "first": {
            "schedule": config.schedule.spec,
            "seed": 0,
            "command": "the command",
            "seconds": 1.3,
        }
    }
    header = (folder / "first.csv").read_text().splitlines()[0]
    assert header == (
        "step,lr,loss,train_loss,tokens,epoch,grad_norm,update_norm,param_norm,embedding_norm,"
        "hidden_norm,head_norm,loss_ema_0.9,tokens_per_second"
    )
    read = read_curve(folder / "first.csv")
    for name, column in logged.columns().items():
        assert read[name].dtype == column.dtype
        np.testing.assert_allclose(read[name], column, rtol=1e-7)
    np.testing.assert_array_equal(read["lr"], logged.lr)
    run = load_runs(folder)["first"]  # checks the logged rates against the spec
    assert run.schedule == config.schedule
    assert run.steps.tolist() == [1, 3, 5]
    np.testing.assert_allclose(run.loss, logged.loss, rtol=1e-7)


def test_a_second_run_joins_the_set(configure, logged: TrainedCurve, tmp_path: Path) -> None:
    write_run(Destination(tmp_path, "b"), configure(), logged)
    path = tmp_path / "dataset.toml"
    path.write_text(path.read_text().replace('license = "unspecified"', 'license = "CC0"'))
    other = configure("cosine:peak=1e-2,steps=6", seed=3)
    write_run(
        Destination(tmp_path, "a"), other, replace(logged, lr=other.schedule.lr[1::2]), command="c"
    )
    facts = manifest(tmp_path)
    assert list(facts["runs"]) == ["a", "b"]
    assert facts["license"] == "CC0"  # what a person wrote stays
    assert facts["runs"]["a"]["seed"] == 3
    assert set(load_runs(tmp_path)) == {"a", "b"}


def test_a_run_by_other_software_says_so(configure, logged: TrainedCurve, tmp_path: Path) -> None:
    write_run(Destination(tmp_path, "a"), configure(), logged)
    path = tmp_path / "dataset.toml"
    ours = manifest(tmp_path)["jax"]
    path.write_text(path.read_text().replace(f'jax = "{ours}"', 'jax = "0.0.1"'))
    write_run(Destination(tmp_path, "b"), configure(), logged)
    facts = manifest(tmp_path)
    assert facts["jax"] == "0.0.1" and facts["runs"]["b"]["jax"] == ours
    assert "jax" not in facts["runs"]["a"] and "numpy" not in facts["runs"]["b"]


@pytest.mark.parametrize(
    ("given", "key"),
    [
        ({"corpus": make_corpus(1)}, "corpus_hash"),
        ({"size": replace(TINY, validation_windows=4)}, "validation_tokens"),
        ({"size": replace(TINY, context=8)}, "context"),
        ({"size": replace(TINY, mlp_width=64)}, "model_params"),
        ({"size": replace(TINY, name="other")}, "size"),
    ],
)
def test_a_run_that_would_not_compare_is_turned_away(
    configure, logged: TrainedCurve, tmp_path: Path, given, key: str
) -> None:
    write_run(Destination(tmp_path, "a"), configure(), logged)
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    for step in (check_destination, lambda d, c: write_run(d, c, logged)):
        with pytest.raises(ProxyError, match=f"dataset.toml has {key} = .* choose another folder"):
            step(Destination(tmp_path, "b"), configure(**given))
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before


@pytest.mark.parametrize(
    ("given", "own"),
    [
        ({"weight_decay": 0.2}, {"weight_decay": 0.2}),
        ({"optimizer": "muon"}, {"optimizer": "muon"}),
        ({"size": replace(TINY, batch=8)}, {"batch": 8, "tokens_per_step": 128}),
        ({"sampling": "epochs"}, {"sampling": "epochs"}),
        ({"precision": "bfloat16"}, {"precision": "bfloat16"}),
        ({"width_rule": "none"}, {"width_rule": "none"}),
        ({"ramp": ((2, 8), (4, 16))}, {}),
    ],
)
def test_what_a_run_has_of_its_own_is_written_with_it(
    configure, logged: TrainedCurve, tmp_path: Path, given, own
) -> None:
    base, other = configure(), configure(**given)
    write_run(Destination(tmp_path, "a"), base, logged)
    assert differing_facts(Destination(tmp_path, "b"), base) == {}
    found = differing_facts(Destination(tmp_path, "b"), other)
    assert {key: pair[1] for key, pair in found.items()} == own
    write_run(Destination(tmp_path, "b"), other, logged, extra={"settings": "sha256:0"})
    facts = manifest(tmp_path)
    usual = {"schedule", "seed", "command", "seconds"}
    assert facts["runs"]["a"].keys() == usual
    extra = {"batch_ramp": "8@2,16@4"} if other.ramp else {}
    expected = own | extra | {"settings": "sha256:0"}
    assert {key: facts["runs"]["b"][key] for key in facts["runs"]["b"].keys() - usual} == expected
    runs = load_runs(tmp_path)
    for key, value in own.items():
        if key in FACTS:
            assert runs["b"].facts[key] == value
            assert runs["a"].facts[key] == facts[key] != value


def test_the_first_facts_are_not_those_of_a_later_run(
    configure, logged: TrainedCurve, tmp_path: Path
) -> None:
    assert differing_facts(Destination(tmp_path, "a"), configure()) == {}
    write_run(Destination(tmp_path, "a"), configure(weight_decay=0.3), logged)
    write_run(Destination(tmp_path, "b"), configure(), logged)
    facts = manifest(tmp_path)
    assert facts["weight_decay"] == 0.3 and facts["runs"]["b"]["weight_decay"] == 0.1
    write_run(Destination(tmp_path, "b", overwrite=True), configure(weight_decay=0.3), logged)
    assert "weight_decay" not in manifest(tmp_path)["runs"]["b"]


def test_an_existing_run_stays_unless_told(configure, logged: TrainedCurve, tmp_path: Path) -> None:
    config = configure()
    write_run(Destination(tmp_path, "a"), config, logged, command="old")
    with pytest.raises(ProxyError, match=r"already has a run 'a'.*--overwrite"):
        check_destination(Destination(tmp_path, "a"), config)
    write_run(Destination(tmp_path, "a", overwrite=True), config, logged, command="new")
    assert manifest(tmp_path)["runs"]["a"]["command"] == "new"
    assert set(manifest(tmp_path)["runs"]) == {"a"}
    (tmp_path / "stray.csv").write_text("step,lr,loss\n0,1,1\n")
    with pytest.raises(ProxyError, match="already has a run 'stray'"):
        check_destination(Destination(tmp_path, "stray"), config)


def test_a_failure_before_the_entry_leaves_the_set_as_it_was(
    configure, logged: TrainedCurve, tmp_path: Path
) -> None:
    write_run(Destination(tmp_path, "a"), configure(), logged)
    (tmp_path / "b.csv").mkdir()  # the curve cannot be written
    before = (tmp_path / "dataset.toml").read_bytes()
    with pytest.raises(OutputError, match="is a folder"):
        write_run(Destination(tmp_path, "b"), configure(), logged)
    assert (tmp_path / "dataset.toml").read_bytes() == before


@pytest.mark.parametrize("error", [KeyboardInterrupt, OutputError])
@pytest.mark.parametrize("written", [0, 1, 2])
def test_an_interrupted_write_leaves_the_set_as_it_was(
    configure,
    logged: TrainedCurve,
    tmp_path: Path,
    monkeypatch,
    error: type[BaseException],
    written: int,
) -> None:
    def files() -> dict[str, bytes]:
        return {str(path): path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}

    source = tmp_path / "elsewhere.csv"
    source.write_text("step,lr\n" + "".join(f"{step},0.01\n" for step in range(6)))
    folder = tmp_path / "set"
    write_run(Destination(folder, "old"), configure(f"csv:{source}"), logged)
    before = files()
    calls: list[Path] = []

    def breaking(whole):
        def broken(path: Path, content) -> Path:
            calls.append(path)
            if len(calls) > written:
                raise error(str(path))
            return whole(path, content)

        return broken

    # rates, then the curve, then the entry
    monkeypatch.setattr(write, "write_schedule", breaking(write.write_schedule))
    monkeypatch.setattr(transactions, "write_text", breaking(transactions.write_text))
    changed = replace(logged, loss=logged.loss + 1)
    for name in ("old", "new"):
        calls.clear()
        with pytest.raises(error):
            write_run(Destination(folder, name, True), configure(f"csv:{source}"), changed)
        assert files() == before
    assert set(load_runs(folder)) == {"old"}


def test_a_schedule_that_is_an_array_travels_with_the_set(
    configure, logged: TrainedCurve, tmp_path: Path
) -> None:
    for number, spec in enumerate(("free form", SPEC)):  # neither text gives these rates
        plan = Schedule(spec, np.linspace(0.1, 0.01, 6))
        config = replace(configure(), schedule=plan)
        name = default_name(plan)
        write_run(Destination(tmp_path, name), config, replace(logged, lr=plan.lr[1::2]))
        assert len(load_runs(tmp_path)) == number + 1
        assert load_runs(tmp_path)[name].schedule == plan


def test_the_place_of_the_rates_is_checked_before_the_training(configure, tmp_path: Path) -> None:
    (tmp_path / "schedules").write_text("")
    config = replace(configure(), schedule=Schedule("free form", np.ones(6)))
    with pytest.raises(OutputError, match="schedules is a file"):
        check_destination(Destination(tmp_path, "a"), config)
    check_destination(Destination(tmp_path, "a"), configure())


def test_a_schedule_from_a_file_travels_with_the_set(
    configure, logged: TrainedCurve, tmp_path: Path
) -> None:
    source = tmp_path / "elsewhere.csv"
    source.write_text("step,lr\n" + "".join(f"{step},0.01\n" for step in range(6)))
    config = configure(f"csv:{source}")
    folder = tmp_path / "set"
    files = write_run(Destination(folder, "mine"), config, logged)
    source.unlink()
    assert folder / "schedules" / "mine.csv" in files
    assert load_runs(folder)["mine"].schedule == config.schedule


@pytest.mark.parametrize("name", ["", ".hidden", "-x", "a/b", "../up", "a b", "å", "x" * 201])
def test_a_name_that_is_no_file_name_is_refused(configure, tmp_path: Path, name: str) -> None:
    with pytest.raises(ProxyError, match=r"run name .*pass --name"):
        check_destination(Destination(tmp_path, name), configure())


def test_a_folder_that_is_a_file_is_refused(configure, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match="is a file"):
        check_destination(Destination(tmp_path / "file", "a"), configure())
    for below in (tmp_path / "file" / "below", tmp_path / "file" / "below" / "it"):
        with pytest.raises(OutputError, match="cannot make the folder"):
            check_destination(Destination(below, "a"), configure())


@pytest.mark.parametrize(
    ("text", "error", "message"),
    [
        ("title = ", DataError, "not valid TOML"),
        ("runs = 3", DataError, "runs = 3 must be tables"),
        ("runs = {a = 3}", DataError, "3 must be a table"),
        ('title = "by hand"', ProxyError, "does not state size"),
    ],
)
def test_a_manifest_that_cannot_be_used_is_named(
    configure, tmp_path: Path, text: str, error: type[Exception], message: str
) -> None:
    (tmp_path / "dataset.toml").write_text(text)
    with pytest.raises(error, match=f"dataset.toml.*{message}"):
        check_destination(Destination(tmp_path, "a"), configure())


def test_default_names_tell_specs_apart() -> None:
    specs = [
        "cosine:peak=3e-4,steps=4000",
        "cosine:peak=3e-4,end=3e-5,steps=4000",
        "multistage:peak=1e-3,at=10/20,to=3e-4/1e-4,steps=40",
        "multistage:peak=1e-3,at=10/20,to=3e-4/2e-4,steps=40",
    ]
    names = [default_name(schedule(spec)) for spec in specs]
    assert names[0] == "cosine_4000_peak-3e-4"
    assert names[2] == "multistage_40_peak-1e-3_at-10-20_to-3e-4-1e-4"
    assert len(set(names)) == len(names)
    assert default_name(schedule(specs[0]), seed=2) == "cosine_4000_peak-3e-4_seed-2"


def test_a_curve_that_is_none_is_named(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    for text in ("", "step,loss\n", "step,loss\n1,x\n", "step,loss\n1\n", "step,loss\n1,2\n3\n"):
        path.write_text(text)
        with pytest.raises(DataError, match=r"a.csv is not a curve of a proxy run"):
            read_curve(path)
    with pytest.raises(DataError, match="is not a curve"):
        read_curve(tmp_path / "none.csv")


def test_a_folder_whose_name_is_too_long_is_one_error(configure, tmp_path: Path) -> None:
    folder = tmp_path / ("x" * 300)
    assert differing_facts(Destination(folder, "a"), configure()) == {}
    assert finished_settings(Destination(folder, "a")) is None


def test_a_set_holds_more_than_runs(configure, logged: TrainedCurve, tmp_path: Path) -> None:
    write_run(Destination(tmp_path, "a"), configure(), logged)
    for name in (".unfinished/a-0123.npz", "checkpoints/a@2.npz", ".dataset.lock"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(b"")
    assert set(load_runs(tmp_path)) == {"a"}


def test_the_set_of_this_repository_can_be_added_to(root: Path) -> None:
    folder = root / "data" / "proxy_nano"
    if manifest(folder)["python"] != platform.python_version():
        pytest.skip("the standard library of another Python is another text")
    config = config_of({"schedule": SPEC, "size": "nano", "corpus": "stdlib"})
    check_destination(Destination(folder, "one_more"), config)
    assert differing_facts(Destination(folder, "one_more"), config) == {}
