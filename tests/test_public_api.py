"""Every public name exists, is documented, and importing the package is light."""

from __future__ import annotations

import inspect
import subprocess
import sys
from pathlib import Path

import pytest

import scaling_laws


@pytest.mark.parametrize("name", [name for name in scaling_laws.__all__ if name != "__version__"])
def test_public_names_are_documented(name: str) -> None:
    value = getattr(scaling_laws, name)
    if inspect.isclass(value) or inspect.isfunction(value):
        assert value.__doc__ and len(value.__doc__) > 20, f"{name} needs a docstring"


def test_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="nothing"):
        _ = scaling_laws.nothing


def test_import_is_light_and_changes_no_setting() -> None:
    code = (
        "import sys, scaling_laws; heavy = {'jax', 'pandas', 'scipy', 'matplotlib'};"
        "assert not heavy & set(sys.modules), heavy & set(sys.modules);"
        "scaling_laws.fit; import jax; assert not jax.config.jax_enable_x64"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_no_module_hides_a_public_function() -> None:
    """`sl.fit` must be the function whatever has been imported before."""
    modules = {path.stem for path in Path(scaling_laws.__file__).parent.iterdir()}
    assert not modules & set(scaling_laws.__all__)
