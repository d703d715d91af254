"""The proxy trainer: small transformers under any schedule, alone or side by side.

`settings` (what a user types) -> `proxy_config` -> `training_loop` (one run or a fleet, from one
logged loss to the next, compiled in `compiled_steps`) -> `fleet` (checkpoints, branches, finished
runs skipped) -> `run_files` (CSV and `dataset.toml`).
"""
