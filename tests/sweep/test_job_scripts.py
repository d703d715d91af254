"""Texts of jobs: the shells and parsers of the systems read them, and they run the right shard."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from scaling_laws.common.errors import UsageError
from scaling_laws.proxy.sweep.job_scripts import ClusterJob, script_text

PLAN = Path("/data/my $(HOME) `sweeps`/It's\n'''\u2028.toml")
JOB = ClusterJob(PLAN, ["--fleet", "4"], 3, "registry/image:1", "claim")
ECHO = 'scaling-laws() { printf "%s|" "$@"; }; exec() { "$@"; }\n'


def run_by_shell(text: str, **environment: str) -> list[str]:
    """The words that the shell gives to scaling-laws."""
    done = subprocess.run(
        ["bash", "-c", ECHO + text], env=environment, capture_output=True, encoding="utf-8"
    )
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout.split("|")[:-1]


WORDS = ["proxy", "sweep", str(PLAN), "--fleet", "4", "--shard", "2/3"]


def test_slurm(tmp_path: Path) -> None:
    text = script_text("slurm", JOB)
    (tmp_path / "job.sh").write_text(text)
    subprocess.run(["bash", "-n", tmp_path / "job.sh"], check=True)
    assert "#SBATCH --array=0-2\n" in text
    assert "#SBATCH --job-name=sweep-it-s\n" in text
    assert run_by_shell(text, SLURM_ARRAY_TASK_ID="2") == WORDS


def test_kubernetes() -> None:
    yaml = pytest.importorskip("yaml")
    job = yaml.safe_load(script_text("kubernetes", JOB))
    spec = job["spec"]
    assert (job["apiVersion"], job["kind"]) == ("batch/v1", "Job")
    assert (spec["completionMode"], spec["completions"], spec["parallelism"]) == ("Indexed", 3, 3)
    pod = spec["template"]["spec"]
    (container,) = pod["containers"]
    assert (container["image"], pod["restartPolicy"]) == ("registry/image:1", "Never")
    assert container["volumeMounts"][0]["mountPath"] == str(PLAN.parent)
    assert pod["volumes"][0]["persistentVolumeClaim"]["claimName"] == "claim"
    command = container["args"][0]
    assert "$" not in command.replace("$$", "")  # each is one $ to Kubernetes, and no reference
    assert run_by_shell(command.replace("$$", "$"), JOB_COMPLETION_INDEX="2") == WORDS


def test_what_is_missing() -> None:
    with pytest.raises(UsageError, match="--image NAME"):
        script_text("kubernetes", ClusterJob(PLAN, [], 3))
    with pytest.raises(UsageError, match="--shards 0"):
        script_text("slurm", ClusterJob(PLAN, [], 0))
    with pytest.raises(UsageError, match="did you mean 'slurm'"):
        script_text("slrm", JOB)
