"""Job scripts for clusters: every task runs the same command on its own shard of the plan.

Nothing is submitted. A shard consists of whole chains of branches, so no task waits for another. A
task that is preempted resumes from its checkpoints when it is restarted.
"""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from scaling_laws.common import UsageError, find_by_name

__all__ = ["SCRIPTS", "ClusterJob", "Script", "script_text"]


@dataclass(frozen=True)
class ClusterJob:
    """What a job script runs.

    Attributes:
        plan: absolute path of the plan, visible to every task.
        options: further arguments of the command.
        shards: number of tasks.
        image: container image with scaling-laws installed, for Kubernetes.
        claim: persistent volume claim that contains the plan's folder, for Kubernetes.
    """

    plan: Path
    options: Sequence[str]
    shards: int
    image: str | None = None
    claim: str | None = None

    def command(self, index: str) -> str:
        """The command of a task in shell syntax; `index` is a shell expression."""
        words = ["scaling-laws", "proxy", "sweep", str(self.plan), *self.options]
        return f'{shlex.join(words)} --shard "{index}/{self.shards}"'

    @property
    def name(self) -> str:
        """A job name that is valid in both systems."""
        word = re.sub(r"[^a-z0-9]+", "-", self.plan.stem.lower()).strip("-")
        return f"sweep-{word}"[:50].rstrip("-")


def _slurm(job: ClusterJob) -> str:
    return f"""\
#!/bin/bash
# {job.shards} tasks, one shard of the plan each; add --partition, --time and --mem as your cluster
# requires. A task that is preempted, or submitted again after its time limit, resumes.
#SBATCH --job-name={job.name}
#SBATCH --array=0-{job.shards - 1}
#SBATCH --ntasks=1
#SBATCH --cpus-per-task=2
#SBATCH --requeue
#SBATCH --open-mode=append
#SBATCH --output={job.name}-%a.log

exec {job.command("${SLURM_ARRAY_TASK_ID}")}
"""


def _kubernetes(job: ClusterJob) -> str:
    if job.image is None or job.claim is None:
        raise UsageError(
            "--script kubernetes needs --image NAME, a container image with scaling-laws "
            "installed, and --claim NAME, a persistent volume claim that contains the plan's folder"
        )
    folder = json.dumps(str(job.plan.parent))  # JSON strings are YAML strings
    command = "exec " + job.command("${JOB_COMPLETION_INDEX}")  # Kubernetes expands $(NAME) itself
    return f"""\
# {job.shards} pods, one shard of the plan each. Evicted pods do not count as failures; exit codes 1
# (a run diverged) and 2 (bad input) are permanent, so these pods are not retried.
apiVersion: batch/v1
kind: Job
metadata:
  name: {json.dumps(job.name)}
spec:
  completionMode: Indexed
  completions: {job.shards}
  parallelism: {job.shards}
  backoffLimitPerIndex: 5
  podFailurePolicy:
    rules:
      - action: Ignore
        onPodConditions:
          - type: DisruptionTarget
      - action: FailIndex
        onExitCodes:
          operator: In
          values: [1, 2]
  template:
    spec:
      restartPolicy: Never
      containers:
        - name: sweep
          image: {json.dumps(job.image)}
          command: ["/bin/sh", "-c"]
          args:
            - {json.dumps(command.replace("$", "$$"))}
          workingDir: {folder}
          volumeMounts:
            - name: plan
              mountPath: {folder}
      volumes:
        - name: plan
          persistentVolumeClaim:
            claimName: {json.dumps(job.claim)}
"""


@dataclass(frozen=True)
class Script:
    """A job scheduler.

    Attributes:
        name: the word after ``--script``.
        write: returns the text of a job.
        help: one line.
    """

    name: str
    write: Callable[[ClusterJob], str]
    help: str


SCRIPTS: tuple[Script, ...] = (
    Script("slurm", _slurm, "a job array for sbatch"),
    Script("kubernetes", _kubernetes, "an indexed Job for kubectl apply -f, 1.31 or later"),
)


def script_text(name: str, job: ClusterJob) -> str:
    """The text of a job script.

    Args:
        name: one of `SCRIPTS`.
        job: what it runs.

    Raises:
        UsageError: if the name is unknown, there are no tasks, or a required option is missing.
    """
    if job.shards < 1:
        raise UsageError(f"--shards {job.shards}: must be at least 1", value=job.shards)
    return find_by_name("script", name, SCRIPTS, UsageError).write(job)
