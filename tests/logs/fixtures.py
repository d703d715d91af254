"""A short file of each format of text, made by hand from the documented form.

`TEXTS` is the one list for the contract test: reader -> the file's name and its text. Formats that
are folders or no text are written by their own tests.
"""

from __future__ import annotations

import json

TRAINER_STATE = {
    "epoch": 1.0,
    "global_step": 30,
    "log_history": [
        {"epoch": 0.3, "grad_norm": 1.5, "learning_rate": 0.001, "loss": 3.5, "step": 10},
        {"epoch": 0.6, "grad_norm": 1.25, "learning_rate": 0.0005, "loss": 3.25, "step": 20},
        {"epoch": 0.6, "eval_loss": 3.375, "eval_runtime": 2.0, "step": 20},
        {"epoch": 1.0, "grad_norm": 1.0, "learning_rate": 0.0, "loss": 3.0, "step": 30},
        {"epoch": 1.0, "total_flos": 1e15, "train_loss": 3.25, "train_runtime": 9.0, "step": 30},
    ],
    "logging_steps": 10,
    "max_steps": 30,
    "train_batch_size": 8,
}
LLAMA_FACTORY = (
    '{"current_steps": 10, "total_steps": 30, "loss": 3.5, "lr": 0.001, "epoch": 0.3, '
    '"percentage": 33.33, "elapsed_time": "0:00:10", "remaining_time": "0:00:20"}\n'
    '{"current_steps": 20, "total_steps": 30, "loss": 3.25, "lr": 0.0005, "epoch": 0.6, '
    '"percentage": 66.67, "elapsed_time": "0:00:20", "remaining_time": "0:00:10"}\n'
    '{"current_steps": 20, "total_steps": 30, "eval_loss": 3.375, "epoch": 0.6, '
    '"percentage": 66.67, "elapsed_time": "0:00:21", "remaining_time": "0:00:10"}\n'
)
WANDB_EXPORT = (
    '"Step","llama - small - train/loss","llama - small - train/loss__MIN",'
    '"llama - small - train/loss__MAX","base - train/loss","base - train/loss__MIN",'
    '"base - train/loss__MAX"\n'
    '"0","3.5","3.5","3.5","","",""\n'
    '"10","3.25","3.25","3.25","3.75","3.75","3.75"\n'
    '"20","","","","3.625","3.625","3.625"\n'
)
LIGHTNING = (
    "epoch,lr-AdamW,lr-AdamW/pg2,step,train_loss_epoch,train_loss_step,val_loss\n"
    ",0.001,0.01,49,,,\n"
    "0,,,49,,3.5,\n"
    "0,,,99,,,3.375\n"
    ",0.0005,0.005,99,,,\n"
    "0,,,99,,3.25,\n"
    "0,,,99,3.375,,\n"
)
LITGPT = (
    "epoch,iter,iter_time,learning_rate,loss,remaining_time,step,tokens,total_tokens,val_loss\n"
    "0,4,0.5,0.001,3.5,100.0,3,4096,8192,\n"
    "0,8,0.5,0.0005,3.25,90.0,7,8192,16384,\n"
    ",,,,,,7,,,3.375\n"
)

TEXTS: dict[str, tuple[str, str]] = {
    "trainer_state": ("trainer_state.json", json.dumps(TRAINER_STATE, indent=2) + "\n"),
    "llama_factory": ("trainer_log.jsonl", LLAMA_FACTORY),
    "wandb_export": ("wandb_export_loss.csv", WANDB_EXPORT),
    "lightning": ("metrics.csv", LIGHTNING),
    "litgpt": ("metrics.csv", LITGPT),
}
