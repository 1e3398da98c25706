"""Values that are computed once and used again."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from typing import Any, TypeVar, cast

Value = TypeVar("Value")


class Memo:
    """Memory of computed values; a key names everything that enters the value besides the lab's models."""

    def __init__(self) -> None:
        self._values: dict[Hashable, Any] = {}
        self._latest: dict[str, tuple[Hashable, Any]] = {}

    def once(self, key: Hashable, compute: Callable[[], Value]) -> Value:
        """Return the value of a key, computed at its first use."""
        if key not in self._values:
            self._values[key] = compute()
        return cast(Value, self._values[key])

    def latest(self, topic: str, key: Hashable, compute: Callable[[], Value]) -> Value:
        """Return the value of a key; large values of a topic are forgotten as soon as another key is asked for."""
        if topic not in self._latest or self._latest[topic][0] != key:
            self._latest.pop(topic, None)
            self._latest[topic] = key, compute()
        return cast(Value, self._latest[topic][1])
