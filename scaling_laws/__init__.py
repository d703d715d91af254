"""scaling-laws: what a learning-rate schedule will cost in loss, before the compute is spent.

    import scaling_laws as sl

    runs = sl.load_runs("data/ladder/micro")
    fitted = sl.fit("multi_power", [runs["constant_4000"], runs["drop_to_0.1_2000"]])
    fitted.predict("linear:peak=4e-3,steps=4000,warmup=100").interval(0.9)
    sl.optimize(fitted, steps=4_000, peak=4e-3, warmup=100).schedule

Names are those of `__init__.pyi`, imported on first use: `import scaling_laws` stays light.
"""

import lazy_loader

from scaling_laws._version import __version__ as __version__

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
__all__ = [*__all__, "__version__"]
