"""Sweeps: a plan of proxy runs, trained wherever there is room, and resumable at any moment.

plan.toml -> `plan` (rows) -> `checks` -> `order` (groups) -> `driver` on a pool of `backends`,
which calls `task.train_rows` for every group. `budget` says before what it will cost; `progress`
and `display` show how far it is; `scripts` writes jobs for clusters.
"""
