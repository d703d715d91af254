"""Registries: what is shipped, registered by a caller, and brought by plug-ins."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import pytest

from scaling_laws.common import registry as module
from scaling_laws.common.errors import LawError
from scaling_laws.common.registry import Registry
from scaling_laws.common.warnings import PluginWarning


@dataclass(frozen=True)
class Record:
    name: str
    size: int = 0


@dataclass(frozen=True)
class EntryPoint:
    name: str
    load: Callable[[], Any]


@pytest.fixture
def points(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[EntryPoint]]:
    """The installed entry points of the group ``tests.records``, empty at first."""
    installed: list[EntryPoint] = []

    def entry_points(group: str) -> list[EntryPoint]:
        return installed if group == "tests.records" else []

    monkeypatch.setattr(module, "entry_points", entry_points)
    yield installed


def registry(*shipped: Record) -> Registry[Record]:
    return Registry("record", shipped, group="tests.records", record_type=Record, error=LawError)


def test_a_mapping_in_the_order_of_registration(points: list[EntryPoint]) -> None:
    records = registry(Record("b"), Record("a"))
    new = Record("c")
    assert records.register(new) is new
    assert list(records) == ["b", "a", "c"] and len(records) == 3
    assert records["c"] is new and records.find("c") is new
    assert "a" in records and "d" not in records
    assert dict(records.items())["b"] == Record("b")
    assert repr(records) == "Registry(record: b, a, c)"


def test_a_taken_name_needs_replace(points: list[EntryPoint]) -> None:
    records = registry(Record("a"))
    with pytest.raises(LawError, match="already registered") as caught:
        records.register(Record("a", 2))
    assert caught.value.value == "a" and records["a"].size == 0
    records.register(Record("a", 2), replace=True)
    assert records["a"].size == 2 and len(records) == 1


def test_the_same_record_may_be_registered_twice(points: list[EntryPoint]) -> None:
    record = Record("a")
    records = registry(record)
    assert records.register(record) is record and len(records) == 1


@pytest.mark.parametrize("item", [3, "a", Record, None])
def test_another_type_is_refused(points: list[EntryPoint], item: Any) -> None:
    records = registry(Record("a"))
    with pytest.raises(LawError, match="not a record: register an instance of Record") as caught:
        records.register(item)
    assert caught.value.value is item and list(records) == ["a"]


def test_unknown_names(points: list[EntryPoint]) -> None:
    records = registry(Record("alpha"), Record("beta"))
    with pytest.raises(LawError, match="did you mean 'alpha'") as caught:
        records.find("alhpa")
    assert caught.value.value == "alhpa" and isinstance(caught.value, ValueError)
    with pytest.raises(KeyError):
        records["alhpa"]


def test_plug_ins_are_loaded_once_and_only_when_needed(points: list[EntryPoint]) -> None:
    calls: list[str] = []

    def load() -> tuple[Record, ...]:
        calls.append("loaded")
        return (Record("one"), Record("two"))

    points += [EntryPoint("pair", load), EntryPoint("single", lambda: Record("three"))]
    records = registry(Record("a"))
    assert records["a"].name == "a" and not calls
    assert records.find("two") == Record("two")
    assert list(records) == ["a", "one", "two", "three"] and len(calls) == 1


def test_a_broken_plug_in_warns_and_stops_no_other(points: list[EntryPoint]) -> None:
    def broken() -> Any:
        raise RuntimeError("boom")

    points += [
        EntryPoint("broken", broken),
        EntryPoint("wrong", lambda: 3),
        EntryPoint("taken", lambda: Record("a", 9)),
        EntryPoint("good", lambda: [Record("b")]),
    ]
    records = registry(Record("a"))
    with pytest.warns(PluginWarning) as caught:
        assert list(records) == ["a", "b"]
    messages = [str(warning.message) for warning in caught]
    assert len(messages) == 3 and records["a"].size == 0
    for name, message in zip(("broken", "wrong", "taken"), messages, strict=True):
        assert repr(name) in message
    assert "RuntimeError: boom" in messages[0]
    assert {warning.filename for warning in caught} == {__file__}
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert len(records) == 2


def test_a_plug_in_may_use_the_registry_while_it_loads(points: list[EntryPoint]) -> None:
    records = registry(Record("a", 5))
    points.append(EntryPoint("copy", lambda: Record("b", records.find("a").size)))
    points.append(EntryPoint("asks", lambda: Record("c", len(records))))
    assert records["c"].size == 2 and records["b"].size == 5
