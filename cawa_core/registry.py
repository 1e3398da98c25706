"""Names to factories: lazy, without duplicates, and helpful where a name is unknown."""

from __future__ import annotations

import importlib
import operator
from collections.abc import Callable
from typing import Any, Generic, TypeVar, cast

from cawa_core.errors import InputError, suggestion

Made = TypeVar("Made")


class Registry(Generic[Made]):
    """Maps a name to ``"module:attribute"``, imported on first use."""

    def __init__(self, kind: str) -> None:
        self.kind = kind
        self._targets: dict[str, str] = {}

    def register(self, name: str, target: str) -> None:
        """Add a factory; a name can be given once.

        Raises:
            ValueError: the name is taken.
        """
        if name in self._targets:
            raise ValueError(f"{self.kind} name {name!r} is taken by {self._targets[name]}; choose another")
        self._targets[name] = target

    def names(self) -> list[str]:
        """All names in alphabetical order."""
        return sorted(self._targets)

    def factory(self, name: str) -> Callable[..., Made]:
        """The callable behind a name.

        Raises:
            InputError: the name is unknown.
        """
        if name not in self._targets:
            known = self.names()
            raise InputError(f"{self.kind} must be one of {', '.join(known)}; got {name!r}{suggestion(name, known)}")
        module, attribute = self._targets[name].split(":")
        return cast(Callable[..., Made], operator.attrgetter(attribute)(importlib.import_module(module)))

    def make(self, name: str, **options: Any) -> Made:  # noqa: ANN401
        """Build what the name stands for."""
        return self.factory(name)(**options)
