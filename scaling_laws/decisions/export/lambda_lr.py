"""Parts of generated Python files for trainers that step a LambdaLR of PyTorch."""

from __future__ import annotations

from scaling_laws.decisions.export.target import Request

__all__ = ["TORCH_IMPORTS", "lambda_lr", "schedule_object"]

TORCH_IMPORTS = """from bisect import bisect_right

from torch.optim.lr_scheduler import LambdaLR
"""

# LambdaLR saves the attributes of a callable object in its state_dict, but not a plain function;
# the knots are not attributes, so that a checkpoint does not restore old ones
OBJECT = {
    "multiplier": '''
class Schedule:
    """Multiplier of a param group's LR; an object, so that it can be pickled."""

    def __call__(self, step):
        return rate_at(step)
''',
    "absolute": '''
class Schedule:
    """Multiplier that converts the initial LR of a param group to the schedule's LR."""

    def __init__(self, base_lr=PEAK_LR):
        self.base_lr = float(base_lr)

    def __call__(self, step):
        return rate_at(step) / self.base_lr
''',
}
# LambdaLR sets the LR of step 0 when it is created, and its load_state_dict() does not set it back:
# if the optimizer's state was loaded before, one update would run at that rate
SCHEDULER = '''

class ScheduledLR(LambdaLR):
    """LambdaLR that also sets the optimizer's LR when its state is loaded."""

    def load_state_dict(self, state_dict):
        super().load_state_dict(state_dict)
        for group, lr in zip(self.optimizer.param_groups, self.get_last_lr()):
            if hasattr(group["lr"], "fill_"):
                group["lr"].fill_(lr)
            else:
                group["lr"] = lr
'''
FACTORY = {
    # a rate in the middle of a run does not determine the peak
    "multiplier": '''

def make_scheduler(optimizer, last_epoch=-1):
    """A scheduler for an optimizer whose param groups have their peak LRs."""
    resumed = {resumed}
    for place, group in enumerate(optimizer.param_groups):
        if resumed and "initial_lr" not in group and group["lr"] != PEAK_LR:
            raise ValueError(
                f"param group {{place}} has the LR {{group['lr']}} and no initial_lr, so its peak "
                "is unknown: set group['initial_lr'], or export with --form absolute"
            )
        group.setdefault("initial_lr", group["lr"])
    return ScheduledLR(optimizer, [Schedule() for _ in optimizer.param_groups], last_epoch)
''',
    "absolute": '''

def make_scheduler(optimizer, last_epoch=-1):
    """A scheduler with which every param group has exactly the schedule's LR."""
    for group in optimizer.param_groups:
        group["initial_lr"] = PEAK_LR  # LambdaLR multiplies it, whatever the LR is now
    return ScheduledLR(optimizer, [Schedule() for _ in optimizer.param_groups], last_epoch)
''',
}


def schedule_object(request: Request) -> str:
    """The class `Schedule`: step -> multiplier."""
    return "\n" + OBJECT[request.form]


def lambda_lr(request: Request) -> str:
    """`Schedule`, and `make_scheduler`: optimizer -> LambdaLR. Needs `TORCH_IMPORTS`."""
    resumed = "True  # at step 0 of this file" if request.start_step else "last_epoch >= 0"
    factory = FACTORY[request.form]
    if request.form == "multiplier":
        factory = factory.format(resumed=resumed)
    return schedule_object(request) + SCHEDULER + factory
