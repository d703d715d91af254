"""Training data: readers of logs, recognition of schedules, runs on disk.

The names are those of `__init__.pyi`; each is imported on first use.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
