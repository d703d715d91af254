"""Open registries: records of this package, of installed plug-ins, and those a caller registers.

A plug-in is an installed distribution with an entry point in the registry's group whose value is a
record or a sequence of records. Entry points are loaded on the first lookup of an unknown name, or
when the registry is listed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from importlib.metadata import entry_points
from typing import Any, Generic, TypeVar

from scaling_laws.common.errors import Named, ScalingLawsError, unknown_name
from scaling_laws.common.warnings import PluginWarning, warn

__all__ = ["Registry"]

Item = TypeVar("Item", bound=Named)


class Registry(Mapping[str, Item], Generic[Item]):
    """Records by name, in the order of registration.

    Args:
        kind: what is registered, for messages, such as ``"law"``.
        shipped: records of this package.
        group: entry-point group of plug-ins.
        record_type: required type of a record.
        error: class of the errors raised for names.
    """

    def __init__(
        self,
        kind: str,
        shipped: Sequence[Item],
        *,
        group: str,
        record_type: type,
        error: type[ScalingLawsError],
    ) -> None:
        self.kind, self.group = kind, group
        self._record_type, self._error = record_type, error
        self._items: dict[str, Item] = {item.name: item for item in shipped}
        self._installed: dict[str, Item] = dict(self._items)
        self._entry_points_loaded = False

    def register(self, item: Item, *, replace: bool = False) -> Item:
        """Add a record and return it, so that the call can wrap a definition.

        Raises:
            ScalingLawsError: of the registry's class, if the record has another type, or its
                name belongs to another record and `replace` is false.
        """
        if not isinstance(item, self._record_type):
            raise self._error(
                f"{item!r} is a {type(item).__name__}, not a {self.kind}: register an instance of "
                f"{self._type_names()}",
                value=item,
            )
        if not replace and self._items.get(item.name, item) is not item:
            raise self._error(
                f"a {self.kind} named {item.name!r} is already registered; choose another name or "
                "pass replace=True",
                value=item.name,
            )
        self._items[item.name] = item
        return item

    def _type_names(self) -> str:
        """The classes of records: those derived from the registry's class, or that class."""
        classes: list[type] = self._record_type.__subclasses__() or [self._record_type]
        return " or ".join(record.__name__ for record in classes)

    def is_installed(self, item: Item) -> bool:
        """Whether every process finds this very record by its name: shipped, or of a plug-in."""
        self._load_entry_points()
        return self._installed.get(item.name) is item and self._items.get(item.name) is item

    def find(self, name: str) -> Item:
        """Find a record by name.

        Raises:
            ScalingLawsError: of the registry's class, with near matches, if there is none.
        """
        if name not in self:
            raise self._error(unknown_name(self.kind, name, self), value=name)
        return self[name]

    def __getitem__(self, name: str) -> Item:
        if name not in self._items:
            self._load_entry_points()
        return self._items[name]

    def __iter__(self) -> Iterator[str]:
        self._load_entry_points()
        return iter(tuple(self._items))

    def __len__(self) -> int:
        self._load_entry_points()
        return len(self._items)

    def __repr__(self) -> str:
        return f"Registry({self.kind}: {', '.join(self)})"

    def _load_entry_points(self) -> None:
        if self._entry_points_loaded:
            return
        self._entry_points_loaded = True  # set first: a plug-in may look up a name while it loads
        for point in entry_points(group=self.group):
            _load_plugin(point.name, point.load, self._install)

    def _install(self, item: Item) -> None:
        self._installed[item.name] = self.register(item)


def _load_plugin(name: str, load: Callable[[], Any], register: Callable[[Any], Any]) -> None:
    """Register the records of an entry point; a broken plug-in must not prevent the others."""
    try:
        loaded = load()
        for item in loaded if isinstance(loaded, list | tuple) else (loaded,):
            register(item)
    except Exception as error:  # third-party code may raise anything
        warn(f"the plug-in {name!r} was not loaded: {type(error).__name__}: {error}", PluginWarning)
