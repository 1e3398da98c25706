"""Registry of factories by name: imports are lazy, duplicates are refused, and unknown names get a suggestion."""

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

from cawa_core.errors import InputError, in_one_line, suggestion

Product = TypeVar("Product")
POSITIONAL = (
    inspect.Parameter.POSITIONAL_ONLY,
    inspect.Parameter.POSITIONAL_OR_KEYWORD,
    inspect.Parameter.VAR_POSITIONAL,
)


class Registry(Generic[Product]):
    """Maps names to ``"module:attribute"``, which is imported on first use.

    Besides its own names, it accepts names of families, which continue after a slash (``timm/resnet50``), names that
    installed packages register by an entry point, and any ``package.module:factory`` of the user.

    Args:
        kind: noun for the registered things, for messages.
        group: entry point group, such as ``cawa.generators``; packages cannot register names if it is left out.
    """

    def __init__(self, kind: str, group: str = "") -> None:
        self.kind = kind
        self.group = group
        self._targets: dict[str, str] = {}
        self._defaults: dict[str, Mapping[str, Any]] = {}
        self._families: dict[str, str] = {}

    def register(self, name: str, target: str, **defaults: Any) -> None:  # noqa: ANN401
        """Add a factory under a new name.

        Args:
            name: name of the factory.
            target: ``"module:attribute"``.
            defaults: options that suit this factory better than the general defaults.

        Raises:
            ValueError: the name is taken.
        """
        if name in self._targets:
            raise ValueError(f"{self.kind} name {name!r} is taken by {self._targets[name]}; choose another")
        self._targets[name] = target
        self._defaults[name] = defaults

    def register_family(self, prefix: str, target: str) -> None:
        """Add a factory for all names ``prefix/...``."""
        self._families[prefix] = target

    def names(self) -> list[str]:
        """Return all names in alphabetical order, families last."""
        return sorted([*self._targets, *self.installed]) + [f"{prefix}/NAME" for prefix in sorted(self._families)]

    def knows(self, name: str) -> bool:
        """Return whether a name is registered, here or by an installed package, or belongs to a family."""
        in_family = name.partition("/")[0] in self._families and "/" in name
        return name in self._targets or in_family or name in self.installed

    def is_foreign(self, name: str) -> bool:
        """Return whether a name stands for a factory outside this project: the user's, or an installed package's."""
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
        """Return the default options of a name; empty if it is not registered."""
        return self._defaults.get(name, {})

    def factory(self, name: str) -> Callable[..., Product]:
        """Return the factory of a name.

        Raises:
            InputError: the name is unknown, or the user's factory cannot be imported.
        """
        if name in self._targets:
            return cast(Callable[..., Product], _import(self._targets[name]))
        if "/" in name and name.partition("/")[0] in self._families:
            return cast(Callable[..., Product], _import(self._families[name.partition("/")[0]]))
        if ":" in name or name in self.installed:
            return self._user_factory(self.installed.get(name, name))
        known = self.names()
        raise InputError(
            f"{self.kind} must be one of {', '.join(known)} or package.module:factory; got {name!r}"
            f"{suggestion(name, known)}"
        )

    def make(self, name: str, *arguments: Any) -> Product:  # noqa: ANN401
        """Call the factory of a name."""
        return self.factory(name)(*arguments)

    def _user_factory(self, target: str) -> Callable[..., Product]:
        """Import the user's factory, which may take no argument instead of a request."""
        factory = user_function(self.kind, target, "factory")
        takes_request = _takes_request(factory)

        def make(request: Any) -> Product:  # noqa: ANN401
            if not takes_request and hasattr(request, "require_no_weights"):
                request.require_no_weights()
            try:
                return cast(Product, factory(request) if takes_request else factory())
            except Exception as error:
                if isinstance(error, InputError) or _is_machine_error(error):  # on Ray, another worker may do better
                    raise
                raise InputError(f"{self.kind} {target!r} failed: {in_one_line(error)}; fix the factory") from error

        return make


def user_function(argument: str, target: str, what: str = "function") -> Callable[..., Any]:
    """Import a user's function, also from a module of the current folder.

    Args:
        argument: name of the option, for errors.
        target: ``package.module:function``.
        what: word for the function, for errors.

    Raises:
        InputError: it cannot be imported, or is no function.
    """
    if "" not in sys.path and str(Path.cwd()) not in sys.path:
        sys.path.insert(0, str(Path.cwd()))
    try:
        function = _import(target)
    except (ImportError, AttributeError, ValueError) as error:
        raise InputError(
            f"{argument} {target!r} must be an importable package.module:{what}; {error}; modules of the current "
            "folder can be imported"
        ) from None
    except Exception as error:  # of the user's module, which may raise any
        raise InputError(f"{argument} {target!r} cannot be imported: {in_one_line(error)}") from error
    if not callable(function):
        raise InputError(f"{argument} {target!r} must be a callable; got {type(function).__name__}")
    return cast(Callable[..., Any], function)


def _is_machine_error(error: Exception) -> bool:
    from cawa_core.numerics.device_errors import is_machine_error  # takes seconds, and a factory has imported PyTorch

    return is_machine_error(error)


def _takes_request(factory: Callable[..., object]) -> bool:
    """Return whether a factory has a parameter without a default, or one that is called ``request``."""
    try:
        parameters = inspect.signature(factory).parameters.values()
    except ValueError:  # some built-in functions have none
        return True
    return any(
        parameter.name == "request" or (parameter.kind in POSITIONAL and parameter.default is parameter.empty)
        for parameter in parameters
    )


def _import(target: str) -> Any:  # noqa: ANN401
    module, attribute = target.split(":", 1)
    return operator.attrgetter(attribute)(importlib.import_module(module))
