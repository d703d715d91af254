"""A small log of each trainer, made by hand in the format it prints."""

from __future__ import annotations

__all__ = ["TEXTS"]

TEXTS = {
    "nanogpt": """\
tokens per iteration will be: 491,520
step 0: train loss 10.9500, val loss 10.9600
iter 0: loss 10.9000, time 9000.00ms, mfu -100.00%
iter 10: loss 8.2500, time 250.10ms, mfu 30.00%
step 20: train loss 7.6000, val loss 7.7000
saving checkpoint to out
iter 20: loss 7.5000, time 250.20ms, mfu 30.01%
""",
    "llmc": """\
s:0 tel:11.0000
s:0 eval:0.2500
s:0 trl:10.9000 lr:0.000001 norm:15.50
s:1 trl:9.8000 lr:0.000002 norm:7.25
s:2 tel:9.5000
""",
    "llmc_printed": """\
| max_seq_length T      | 1024                                               |
val loss 11.000000
step    1/2 | loss 10.900000 (+nanz)| norm 15.5000 (+nanz)| lr 1.00e-06 | 90.25 ms | 5 tok/s
step    2/2 | loss 9.800000 (-1.25z)| norm 7.2500 (+0.10z)| lr 2.00e-06 | 90.25 ms | 55.2% bf16 \
MFU | 5 tok/s
val loss 9.500000
total average iteration time: 90.250000 ms
""",
    "nanochat": """\
Vocab size: 65,536
Step 00000 | Validation bpb: 3.125000
step 00000/00002 (0.00%) | loss: 10.500000 | lrm: 1.00 | dt: 512.33ms | tok/sec: 1,023,456 | \
bf16_mfu: 47.9 | epoch: 1 | total time: 0.00m | eta: 8.3m
step 00001/00002 (50.00%) | loss: 9.750000 | lrm: 0.50 | dt: 512.33ms | tok/sec: 1,023,456 | \
bf16_mfu: 47.9 | epoch: 1 | total time: 0.01m
Step 00002 | Validation bpb: 2.125000
Step 00002 | CORE metric: 0.1250
""",
    "modded_nanogpt": """\
import torch
print0(f"step:{step}/{train_steps} val_loss:{val_loss:.4f} train_time:{time:.0f}ms")
====================================================================================
step:0/4 val_loss:10.8250 train_time:0ms step_avg:nanms
step:1/4 train_loss:10.7500 train_time:90ms step_avg:90.25ms
step:2/4 train_time:180ms step_avg:90.25ms
step:4/4 val_loss:8.1250 train_time:361ms step_avg:90.25ms
peak memory allocated: 100 MiB reserved: 200 MiB
""",
    "nemo": """\
[NeMo I 2026-01-01 10:00:00 exp_manager:1] Logging
Training epoch 0, iteration 0/3 | lr: 0.0006 | consumed_samples: 32 | global_batch_size: 32 | \
global_step: 0 | reduced_train_loss: 11.02
Training epoch 0, iteration 1/3 | lr: 0.00055 | consumed_samples: 64 | global_batch_size: 32 | \
global_step: 1 | reduced_train_loss: 9.75 | train_step_timing in s: 0.25 | val_loss: 9.5
Training epoch 0, iteration 2/3 | lr: 0.0005 | consumed_samples: 96 | global_batch_size: 32 | \
global_step: 2 | reduced_train_loss: 9.25 | train_step_timing in s: 0.25 | val_loss: 9.5
Training epoch 0, iteration 3/3 | lr: 0.0004 | consumed_samples: 128 | global_batch_size: 32 | \
global_step: 3 | reduced_train_loss: 8.5 | train_step_timing in s: 0.25 | val_loss: 8.75
""",
    "torchtitan": """\
[titan] 2026-01-01 10:00:00,000 - root - INFO - Training starts at step 1
[titan] 2026-01-01 10:00:01,000 - root - INFO - \x1b[31mstep:  1  \x1b[32mloss:  8.12500  \
\x1b[38;2;180;60;0mgrad_norm:  1.5000  \x1b[36mmemory: 66.91GiB(37.51%)  \x1b[34mtps: 10,050  \
\x1b[36mtflops: 1,314.50  \x1b[35mmfu: 13.99%\x1b[39m
[titan] 2026-01-01 10:00:02,000 - root - INFO - step: 10  loss:  7.25000  grad_norm: 12.2500  \
memory: 66.91GiB(37.51%)  tps: 10,060  tflops: 314.50  mfu: 13.99%
[titan] 2026-01-01 10:00:03,000 - root - INFO - validate step: 10  loss:  7.5000  \
memory: 66.91GiB(37.51%)  tps: 20,000
""",
    "olmo_core": """\
2026-01-01 10:00:00.000 node:0 olmo_core.train.trainer:10 INFO Training for 4 steps
2026-01-01 10:00:01.000 node:0 olmo_core.train.callbacks.console_logger:85 INFO \
[step=1/4,epoch=1,eta=1h]
    optim/LR (group 0)=7.5e-05
    optim/total grad norm=1.250
    throughput/total tokens=4,194,304
    train/CE loss=11.25
    train/PPL=76,879
2026-01-01 10:00:02.000 node:0 olmo_core.train.callbacks.console_logger:85 INFO [step=2/4,epoch=1]
2026-01-01 10:00:03.000 node:0 olmo_core.train.callbacks.console_logger:85 INFO [step=3/4,epoch=1]
    optim/LR (group 0)=0.0003
    throughput/total tokens=12,582,912
    train/CE loss=9.125
""",
    "maxtext": """\
I0101 10:00:00.000000 123 max_utils.py:1] Number of devices: 8
I0101 10:00:01.000000 123 metric_logger.py:2] completed step: 0, seconds: 20.500, \
TFLOP/s/device: 5.250, Tokens/s/device: 300.500, total_weights: 65536, loss: 10.875
completed step: 1, seconds: 0.500, TFLOP/s/device: 205.250, Tokens/s/device: 12,000.500, \
total_weights: 65536, loss: 9.750, lr: 3.000e-04
eval metrics after step: 1, loss=9.500, total_weights=4096.0
""",
    "deepspeed": """\
[2026-01-01 10:00:00,000] [INFO] [config.py:1:print] DeepSpeedEngine configuration:
[2026-01-01 10:00:01,000] [INFO] [logging.py:96:log_dist] [Rank 0] step=10, skipped=1, \
lr=[0.0003, 0.0001], mom=[(0.9, 0.95), (0.9, 0.95)]
steps: 10 loss: 9.5000 iter time (s): 0.500 samples/sec: 64.000
[2026-01-01 10:00:02,000] [INFO] [logging.py:96:log_dist] [Rank 0] step=20, skipped=1, \
lr=[0.0002, 5e-05], mom=[(0.9, 0.95), (0.9, 0.95)]
steps: 20 loss: 8.2500 iter time (s): 0.500 samples/sec: 64.000
""",
}
