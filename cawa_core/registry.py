"""Names to factories: lazy, without duplicates, and helpful where a name is unknown."""

from __future__ import annotations

import importlib
import inspect
import operator
import sys
from collections.abc import Callable, Mapping
from functools import cached_property
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any, Generic, TypeVar, cast

from cawa_core.errors import InputError, suggestion

Made = TypeVar("Made")
POSITIONAL = (
    inspect.Parameter.POSITIONAL_ONLY,
    inspect.Parameter.POSITIONAL_OR_KEYWORD,
    inspect.Parameter.VAR_POSITIONAL,
)


class Registry(Generic[Made]):
    """Maps a name to ``"module:attribute"``, imported on first use.

    Besides its own names it knows families, whose names continue after a slash (``timm/resnet50``), names that
    installed packages register by an entry point, and any ``package.module:factory`` of the user's.

    Args:
        kind: what the names stand for, for messages.
        group: entry point group, such as ``cawa.generators``; packages cannot register names if it is left out.
    """

    def __init__(self, kind: str, group: str = "") -> None:
        self.kind, self.group = kind, group
        self._targets: dict[str, str] = {}
        self._defaults: dict[str, Mapping[str, Any]] = {}
        self._families: dict[str, str] = {}

    def register(self, name: str, target: str, **defaults: Any) -> None:  # noqa: ANN401
        """Add a factory; a name can be given once. ``defaults``: options that suit it better than the general ones.

        Raises:
            ValueError: the name is taken.
        """
        if name in self._targets:
            raise ValueError(f"{self.kind} name {name!r} is taken by {self._targets[name]}; choose another")
        self._targets[name], self._defaults[name] = target, defaults

    def register_family(self, prefix: str, target: str) -> None:
        """Add a factory for all names ``prefix/...``."""
        self._families[prefix] = target

    def names(self) -> list[str]:
        """All names in alphabetical order, families last."""
        return sorted([*self._targets, *self.installed]) + [f"{prefix}/NAME" for prefix in sorted(self._families)]

    def knows(self, name: str) -> bool:
        """Whether a name is registered, here or by an installed package, or belongs to a family."""
        in_family = name.partition("/")[0] in self._families and "/" in name
        return name in self._targets or in_family or name in self.installed

    def is_foreign(self, name: str) -> bool:
        """Whether a name stands for a factory outside this project: the user's, or an installed package's."""
        return ":" in name or (name not in self._targets and name in self.installed)

    @cached_property
    def installed(self) -> dict[str, str]:
        """Factories of installed packages as ``"module:attribute"``, by name.

        Raises:
            InputError: a package registers a name that is taken.
        """
        targets: dict[str, str] = {}
        for point in entry_points(group=self.group) if self.group else ():
            taken = self._targets.get(point.name) or targets.get(point.name)
            if taken not in (None, point.value):
                package = point.dist.name if point.dist else "an installed package"
                raise InputError(
                    f"{self.kind} name {point.name!r}, which {package} registers in {self.group}, is taken by {taken}; "
                    "rename it there, or uninstall the package"
                )
            targets[point.name] = point.value
        return targets

    def defaults(self, name: str) -> Mapping[str, Any]:
        """Options that suit a name; none for one that is not registered."""
        return self._defaults.get(name, {})

    def factory(self, name: str) -> Callable[..., Made]:
        """The callable behind a name.

        Raises:
            InputError: the name is unknown, or the user's factory cannot be imported.
        """
        if name in self._targets:
            return cast(Callable[..., Made], _imported(self._targets[name]))
        if "/" in name and name.partition("/")[0] in self._families:
            return cast(Callable[..., Made], _imported(self._families[name.partition("/")[0]]))
        if ":" in name or name in self.installed:
            return self._users_factory(self.installed.get(name, name))
        known = self.names()
        raise InputError(
            f"{self.kind} must be one of {', '.join(known)} or package.module:factory; got {name!r}"
            f"{suggestion(name, known)}"
        )

    def make(self, name: str, *arguments: Any) -> Made:  # noqa: ANN401
        """Build what the name stands for."""
        return self.factory(name)(*arguments)

    def _users_factory(self, target: str) -> Callable[..., Made]:
        """A factory of the user's, who need not care for what it is asked for."""
        if "" not in sys.path and str(Path.cwd()) not in sys.path:
            sys.path.insert(0, str(Path.cwd()))
        try:
            factory = _imported(target)
        except (ImportError, AttributeError, ValueError) as error:
            raise InputError(
                f"{self.kind} {target!r} must be an importable package.module:factory; {error}; modules of the "
                "current folder can be imported"
            ) from None
        if not callable(factory):
            raise InputError(f"{self.kind} {target!r} must be a callable; got {type(factory).__name__}")
        takes_request = any(
            parameter.name == "request" or (parameter.kind in POSITIONAL and parameter.default is parameter.empty)
            for parameter in inspect.signature(factory).parameters.values()
        )

        def made(request: Any) -> Made:  # noqa: ANN401
            if takes_request:
                return cast(Made, factory(request))
            if hasattr(request, "require_no_weights"):
                request.require_no_weights()
            return cast(Made, factory())

        return made


def _imported(target: str) -> Any:  # noqa: ANN401
    module, attribute = target.split(":", 1)
    return operator.attrgetter(attribute)(importlib.import_module(module))
