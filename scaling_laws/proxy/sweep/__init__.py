"""Sweeps: train all runs of a plan in parallel, and resume after any interruption.

plan.toml -> `sweep_plan` (planned runs) -> `plan_checks` -> `run_groups` -> `sweep_training` on a
pool of processes, which calls `group_task.train_group` for every group. `budget` predicts the
cost; `run_progress` and `progress_display` report how far the runs are; `job_scripts` writes job
arrays for clusters.
"""
