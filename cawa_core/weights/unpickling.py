"""Reading of pickles as data: an interpreter of their opcodes that calls nothing that a pickle names.

A pickle is a program for a stack machine (Python's :mod:`pickletools` documents its opcodes). Python's own unpickler
imports what the program names and calls it; here, names stay names and calls stay descriptions of calls.
"""

from __future__ import annotations

import dataclasses
import io
import pickletools
from collections.abc import Callable
from typing import Any

MAX_BYTES = 32 * 2**20
"""Size up to which a pickle is read; that of a network with 10,000 tensors takes 2 MB."""
MAX_STEPS = 1_000_000
"""Opcodes up to which a pickle is read; a network with 10,000 tensors takes 500,000."""


class PickleError(ValueError):
    """The pickle is damaged, too large, or uses an opcode that only code needs."""


@dataclasses.dataclass(frozen=True)
class Name:
    """A class or function that a pickle names.

    Attributes:
        path: module and qualified name, joined by a dot.
    """

    path: str


@dataclasses.dataclass(eq=False)
class Described:
    """A call that a pickle asks for, and that was not made.

    Attributes:
        function: what would be called; None if it is not a name.
        args: its arguments.
    """

    function: Name | None
    args: tuple[Any, ...]


@dataclasses.dataclass(frozen=True)
class Reference:
    """An object that is stored outside the pickle.

    Attributes:
        key: identifier that the pickle gives.
    """

    key: Any


Call = Callable[[Name, tuple[Any, ...]], Any]
"""Function from a named function and its arguments to what stands for the result."""


def read_pickle(content: bytes, call: Call) -> tuple[Any, int]:
    """Read one pickle from the start of some bytes.

    Args:
        content: bytes that begin with a pickle.
        call: what stands for the result of each call; it must know which functions are harmless.

    Returns:
        The data, with :class:`Name`, :class:`Reference` and results of ``call`` in place of objects, and the number
        of bytes read.

    Raises:
        PickleError: see the class.
    """
    machine = _Machine(call)
    stream = io.BytesIO(content[:MAX_BYTES])
    try:
        for step, (opcode, argument, _) in enumerate(pickletools.genops(stream)):
            if step > MAX_STEPS:
                raise PickleError(f"its pickle has more than {MAX_STEPS} steps")
            machine.run(opcode.name, argument)
        return machine.pop(), stream.tell()
    except PickleError:
        raise
    except (ValueError, IndexError, KeyError, TypeError, OverflowError, UnicodeError) as error:
        raise PickleError(f"its pickle is damaged: {str(error) or type(error).__name__}") from None


_MARK = object()
_CONSTANTS = {"NONE": None, "NEWTRUE": True, "NEWFALSE": False}
_EMPTY: dict[str, Callable[[], Any]] = {"EMPTY_LIST": list, "EMPTY_DICT": dict, "EMPTY_TUPLE": tuple, "EMPTY_SET": list}
_TUPLES = {"TUPLE1": 1, "TUPLE2": 2, "TUPLE3": 3}
_COLLECTIONS: dict[str, Callable[[list[Any]], Any]] = {
    "TUPLE": tuple,
    "LIST": list,
    "FROZENSET": list,
    "DICT": lambda items: _with_items({}, items),
}
_LITERALS = frozenset(
    {
        *("INT", "BININT", "BININT1", "BININT2", "LONG", "LONG1", "LONG4", "FLOAT", "BINFLOAT"),
        *("STRING", "BINSTRING", "SHORT_BINSTRING", "UNICODE", "BINUNICODE", "SHORT_BINUNICODE", "BINUNICODE8"),
        *("BINBYTES", "SHORT_BINBYTES", "BINBYTES8", "BYTEARRAY8"),
    }
)
_PLAIN_KEYS = (str, int, float, bytes, type(None))


class _Machine:
    """Stack and memo of a pickle."""

    def __init__(self, call: Call) -> None:
        self.stack: list[Any] = []
        self.memo: dict[int, Any] = {}
        self.call = call

    def run(self, name: str, argument: Any) -> None:  # noqa: ANN401
        """Take one step."""
        if name in _LITERALS:
            self.stack.append(argument)
        elif name in ("BINPUT", "LONG_BINPUT", "PUT"):
            self.memo[argument] = self.top()
        elif name in ("BINGET", "LONG_BINGET", "GET"):
            self.stack.append(self.memo[argument])
        elif name in _CONSTANTS:
            self.stack.append(_CONSTANTS[name])
        elif name in _EMPTY:
            self.stack.append(_EMPTY[name]())
        elif name in _TUPLES:
            self.stack.append(tuple(reversed([self.pop() for _ in range(_TUPLES[name])])))
        elif name in _COLLECTIONS:
            self.stack.append(_COLLECTIONS[name](self.pop_to_mark()))
        elif step := getattr(self, f"step_{name.lower()}", None):
            step(argument)
        else:
            raise PickleError(f"its pickle has the step {name}, which no checkpoint needs")

    def top(self) -> Any:  # noqa: ANN401
        """Return the topmost value."""
        value = self.stack[-1]
        if value is _MARK:
            raise PickleError("its pickle is damaged: a mark is no value")
        return value

    def pop(self) -> Any:  # noqa: ANN401
        """Remove and return the topmost value."""
        value = self.top()
        self.stack.pop()
        return value

    def pop_to_mark(self) -> list[Any]:
        """Remove and return the values above the last mark, and the mark."""
        position = len(self.stack) - 1
        while self.stack[position] is not _MARK:
            position -= 1
            if position < 0:
                raise PickleError("its pickle is damaged: a mark is missing")
        values = self.stack[position + 1 :]
        del self.stack[position:]
        return values

    def step_proto(self, version: int) -> None:
        """Ignore the protocol's version: opcodes say all that matters."""

    step_frame = step_stop = step_proto

    def step_mark(self, _: None) -> None:
        self.stack.append(_MARK)

    def step_pop(self, _: None) -> None:
        self.stack.pop()

    def step_pop_mark(self, _: None) -> None:
        self.pop_to_mark()

    def step_dup(self, _: None) -> None:
        self.stack.append(self.top())

    def step_memoize(self, _: None) -> None:
        self.memo[len(self.memo)] = self.top()

    def step_append(self, _: None) -> None:
        value = self.pop()
        _extend(self.top(), [value])

    def step_appends(self, _: None) -> None:
        values = self.pop_to_mark()
        _extend(self.top(), values)

    step_additems = step_appends

    def step_setitem(self, _: None) -> None:
        value = self.pop()
        key = self.pop()
        _with_items(self.top(), [key, value])

    def step_setitems(self, _: None) -> None:
        items = self.pop_to_mark()
        _with_items(self.top(), items)

    def step_global(self, argument: str) -> None:
        self.stack.append(Name(argument.replace(" ", ".")))

    def step_stack_global(self, _: None) -> None:
        name = self.pop()
        module = self.pop()
        if not isinstance(name, str) or not isinstance(module, str):
            raise PickleError("its pickle is damaged: a name is no text")
        self.stack.append(Name(f"{module}.{name}"))

    def step_reduce(self, _: None) -> None:
        args = self.pop()
        self.stack.append(self._called(self.pop(), args))

    step_newobj = step_reduce

    def step_newobj_ex(self, _: None) -> None:
        self.pop()
        self.step_reduce(None)

    def step_build(self, _: None) -> None:
        """Drop the state of an object that is not made."""
        self.pop()
        self.top()

    def step_binpersid(self, _: None) -> None:
        self.stack.append(Reference(self.pop()))

    def _called(self, function: Any, args: Any) -> Any:  # noqa: ANN401
        if not isinstance(args, tuple):
            raise PickleError("its pickle is damaged: arguments are no tuple")
        if not isinstance(function, Name):
            return Described(None, args)
        return self.call(function, args)


def _extend(target: Any, values: list[Any]) -> None:  # noqa: ANN401
    """Append to a list; what would extend another object is dropped with its state."""
    if isinstance(target, list):
        target.extend(values)
    elif not isinstance(target, Described):
        raise PickleError(f"its pickle is damaged: it appends to a {type(target).__name__}")


def _with_items(target: Any, items: list[Any]) -> Any:  # noqa: ANN401
    """Set alternating keys and values of a map; a key that is not plain is replaced by one that equals nothing."""
    if isinstance(target, dict):
        for key, value in zip(items[::2], items[1::2], strict=True):
            target[key if isinstance(key, _PLAIN_KEYS) else Described(None, (key,))] = value
    elif not isinstance(target, Described):
        raise PickleError(f"its pickle is damaged: it sets items of a {type(target).__name__}")
    return target
