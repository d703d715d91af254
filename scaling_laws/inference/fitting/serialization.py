"""Serialisation of laws and prepared runs for other processes.

A process compiles a law once and recognises it by identity. A law that every process can find by
name, because it is shipped or comes from an installed plug-in, is therefore sent as that name. Any
other law is sent by value, pickled by cloudpickle, and the receiving process caches it under its
name and a digest, so that it is compiled once. Functions of a law that are defined in an importable
module are pickled by reference; that module must be importable in the other process as well.
"""

from __future__ import annotations

import hashlib
import importlib
from collections.abc import Mapping
from dataclasses import dataclass, fields
from functools import cache
from typing import Any

from scaling_laws.common import LawError, Pool, UsageError
from scaling_laws.inference.fitting.fit_data import Data
from scaling_laws.models import LAWS, SUFFIX, Law, get_schedule_law

__all__ = [
    "SerializedData",
    "SerializedLaw",
    "data_from_picklable",
    "data_to_picklable",
    "law_from_picklable",
    "law_to_picklable",
    "registered_name",
]


@dataclass(frozen=True)
class SerializedLaw:
    """A law that other processes cannot find by its name.

    Attributes:
        name: the law's name.
        digest: of `payload`, SHA-256.
        payload: the law, pickled.
    """

    name: str
    digest: str
    payload: bytes


@dataclass(frozen=True, eq=False)
class SerializedData:
    """`Data` with a picklable law in place of the law.

    Attributes:
        law: the law's name, or its value.
        fields: the other fields of `Data`.
    """

    law: str | SerializedLaw
    fields: Mapping[str, Any]


_RECEIVED: dict[tuple[str, str], Law] = {}  # by name and digest


def registered_name(law: Law) -> str | None:
    """The name by which every process finds a law, or None if others cannot find it."""
    try:
        registered = get_schedule_law(law.name)
    except LawError:
        return None
    if registered is not law:
        return None
    # NAME_across_sizes is derived from NAME, and not registered itself
    base = law if law.name in LAWS else get_schedule_law(law.name.removesuffix(SUFFIX))
    return law.name if LAWS.is_installed(base) else None


def law_to_picklable(law: Law, pool: Pool) -> Law | str | SerializedLaw:
    """A law in a form that can be passed to calls of a pool.

    Raises:
        UsageError: if it must be sent by value and cannot be pickled.
    """
    if pool.here:
        return law
    name = registered_name(law)
    return _serialized(law) if name is None else name


@cache
def _serialized(law: Law) -> SerializedLaw:
    try:
        payload: bytes = _cloudpickle().dumps(law)
    except Exception as error:  # whatever the values of a law raise when they are pickled
        raise UsageError(
            f"law {law.name!r} cannot be sent to other processes ({type(error).__name__}: "
            f"{error}); use the local backend, or define its functions in a module"
        ) from error
    digest = hashlib.sha256(payload).hexdigest()
    _RECEIVED[law.name, digest] = law  # this process unpickles to the same object
    return SerializedLaw(law.name, digest, payload)


def law_from_picklable(law: Law | str | SerializedLaw) -> Law:
    """The law in this process; the same object at every call."""
    if isinstance(law, str):
        return get_schedule_law(law)
    if isinstance(law, Law):
        return law
    key = (law.name, law.digest)
    if key not in _RECEIVED:
        _RECEIVED[key] = _cloudpickle().loads(law.payload)
    return _RECEIVED[key]


def data_to_picklable(data: Data, pool: Pool) -> Data | SerializedData:
    """Prepared runs in a form that can be passed to calls of a pool.

    Raises:
        UsageError: if their law must be sent by value and cannot be pickled.
    """
    law = law_to_picklable(data.law, pool)
    if isinstance(law, Law):
        return data
    names = [field.name for field in fields(data) if field.name != "law"]
    return SerializedData(law, {name: getattr(data, name) for name in names})


def data_from_picklable(data: Data | SerializedData) -> Data:
    """The prepared runs, with the law of this process."""
    if isinstance(data, Data):
        return data
    return Data(law=law_from_picklable(data.law), **data.fields)


def _cloudpickle() -> Any:
    """Dask depends on cloudpickle; joblib has its own copy."""
    try:
        return importlib.import_module("cloudpickle")
    except ImportError:
        return importlib.import_module("joblib.externals.cloudpickle")
