"""Tensors as a checkpoint's pickle describes them: shapes, strides, and the storage that holds their values."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from typing import Any

import torch

from cawa_core.weights.unpickling import Described, Name, PickleError, Reference, read_pickle

STORAGE_TYPES = {
    "FloatStorage": torch.float32,
    "DoubleStorage": torch.float64,
    "HalfStorage": torch.float16,
    "BFloat16Storage": torch.bfloat16,
    "LongStorage": torch.int64,
    "IntStorage": torch.int32,
    "ShortStorage": torch.int16,
    "CharStorage": torch.int8,
    "ByteStorage": torch.uint8,
    "BoolStorage": torch.bool,
    "ComplexFloatStorage": torch.complex64,
    "ComplexDoubleStorage": torch.complex128,
    "UntypedStorage": torch.uint8,
}
"""Types of the elements of PyTorch's storages."""

REBUILD = "torch._utils._rebuild_"
PARAMETERS = (f"{REBUILD}parameter", f"{REBUILD}parameter_with_state")
TENSORS = (f"{REBUILD}tensor", f"{REBUILD}tensor_v2", f"{REBUILD}tensor_v3")
OTHER_TENSORS = {
    f"{REBUILD}sparse_tensor": "a sparse tensor",
    f"{REBUILD}sparse_csr_tensor": "a sparse tensor",
    f"{REBUILD}nested_tensor": "a nested tensor",
    f"{REBUILD}qtensor": "a quantised tensor",
    f"{REBUILD}meta_tensor_no_storage": "a tensor on meta, without values",
    f"{REBUILD}device_tensor_from_numpy": "a tensor of another device",
    f"{REBUILD}device_tensor_from_cpu_tensor": "a tensor of another device",
    f"{REBUILD}wrapper_subclass": "a tensor of a class of its own",
}
"""Kinds of tensors that other functions rebuild."""
MAPS = ("collections.OrderedDict", "collections.defaultdict", "collections.Counter", "builtins.dict")
BUILTINS = ("set", "frozenset", "bytearray", "complex", "slice", "range", "list", "tuple", "int", "float", "str")
NUMPY_FUNCTIONS = ("multiarray.scalar", "multiarray._reconstruct", "numeric._frombuffer")
HARMLESS = frozenset(
    {
        "argparse.Namespace",
        "types.SimpleNamespace",
        "collections.deque",
        "copyreg._reconstructor",
        "copy_reg._reconstructor",
        "_codecs.encode",
        "numpy.dtype",
        "numpy.ndarray",
        *(f"numpy.{core}.{name}" for core in ("core", "_core") for name in NUMPY_FUNCTIONS),
        *(f"datetime.{name}" for name in ("datetime", "date", "time", "timedelta", "timezone")),
        *(f"{module}.{name}" for module in ("builtins", "__builtin__") for name in BUILTINS),
        *(f"{module}.{name}Path" for module in ("pathlib", "pathlib._local") for name in ("Posix", "Windows")),
        "torch.Size",
        "torch.device",
        "torch.serialization._get_layout",
    }
)
"""Classes and functions that only hold data, which training loops save beside the weights."""


@dataclasses.dataclass(frozen=True)
class Storage:
    """Values of one or several tensors, one after another.

    Attributes:
        key: name in the file.
        dtype: type of the elements.
        count: number of elements.
        first: position of the first element in the stored data, which old files allow to be shared.
    """

    key: str
    dtype: torch.dtype
    count: int
    first: int = 0

    @property
    def n_bytes(self) -> int:
        """Size of the values."""
        return self.count * self.dtype.itemsize


@dataclasses.dataclass(eq=False)
class StoredTensor:
    """A strided tensor whose values are still in the file.

    Attributes:
        storage: holder of the values.
        dtype: type of the elements.
        offset: position of the first element in the storage.
        shape, strides: as of a tensor, in elements.
    """

    storage: Storage
    dtype: torch.dtype
    offset: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]

    @property
    def count(self) -> int:
        """Number of elements."""
        return math.prod(self.shape)

    def fault(self) -> str:
        """Describe why the storage cannot hold this tensor; empty if it can."""
        held = self.storage.n_bytes // self.dtype.itemsize
        form = f"has the shape {list(self.shape)} and the strides {list(self.strides)}"
        if self.count > held:
            return f"{form} but only {held} stored values: save a copy, tensor.contiguous()"
        reach = 1 + sum((side - 1) * stride for side, stride in zip(self.shape, self.strides, strict=True))
        if self.count and self.offset + reach > held:
            return f"{form} from {self.offset}, beyond its {held} stored values"
        if not self.count and max(self.shape) >= 2**31:
            return f"{form}, which is too large"
        return ""


@dataclasses.dataclass
class OtherTensor:
    """A tensor that is not strided or not on the CPU.

    Attributes:
        kind: what it is, with an article.
    """

    kind: str


@dataclasses.dataclass
class PickledContent:
    """Content of a checkpoint's pickle.

    Attributes:
        value: the data, with a :class:`StoredTensor` for each tensor.
        size: bytes of the pickle.
        storages: every storage that the pickle refers to, by key.
        foreign: functions and classes that the pickle calls, and that are not known to be harmless.
    """

    value: Any
    size: int
    storages: Mapping[str, Storage]
    foreign: list[str]


def read_content(pickle: bytes) -> PickledContent:
    """Read a checkpoint's pickle without running anything.

    Raises:
        PickleError: the pickle is damaged or too large.
    """
    calls = _Calls()
    value, size = read_pickle(pickle, calls)
    return PickledContent(value, size, calls.storages, calls.foreign)


class _Calls:
    """Turns the calls of PyTorch's pickles into descriptions of tensors, and notes calls that may be harmful."""

    def __init__(self) -> None:
        self.storages: dict[str, Storage] = {}
        self.foreign: list[str] = []

    def __call__(self, function: Name, args: tuple[Any, ...]) -> Any:  # noqa: ANN401
        path = function.path
        if path in TENSORS:
            return self._tensor(path, args)
        if path in PARAMETERS:
            return args[0]
        if path == "torch._tensor._rebuild_from_type_v2":
            return self(_required(args[0], Name), _required(args[2], tuple))
        if path in OTHER_TENSORS:
            return OtherTensor(OTHER_TENSORS[path])
        if path in MAPS:
            return _map(args)
        if path not in HARMLESS:
            self.foreign.append(path)
        return Described(function, args)

    def _tensor(self, path: str, args: tuple[Any, ...]) -> StoredTensor | OtherTensor:
        if isinstance(args[0], Described):
            return OtherTensor("a tensor with its values inside the pickle")
        storage = self._storage(_required(args[0], Reference).key)
        offset, shape, strides = args[1:4]
        numbers = [offset, *_required(shape, tuple), *_required(strides, tuple)]
        if len(shape) != len(strides) or any(type(number) is not int or number < 0 for number in numbers):
            raise PickleError("a tensor's shape, strides or offset are no numbers from 0")
        dtype = storage.dtype
        metadata = args[6:7]
        if path.endswith("_v3"):
            dtype = _dtype(_required(args[6], Name))
            metadata = args[7:8]
        if any(metadata):
            return OtherTensor("a conjugated or negated view")
        return StoredTensor(
            storage, dtype, storage.first * storage.dtype.itemsize // dtype.itemsize + offset, shape, strides
        )

    def _storage(self, key: Any) -> Storage:  # noqa: ANN401
        """Return the storage of ``("storage", type, key, device, count)``, in old files with a view at the end."""
        kind, type_name, name, _, count, *view = _required(key, tuple)
        dtype = STORAGE_TYPES.get(_required(type_name, Name).path.rsplit(".", 1)[1])
        if kind != "storage" or dtype is None or type(count) is not int or count < 0:
            raise PickleError(f"a storage of the type {type_name.path} cannot be read")
        storage = Storage(_required(name, str), dtype, count)
        if self.storages.setdefault(name, storage) != storage:
            raise PickleError("two tensors disagree about their common storage")
        if view and view[0] is not None:
            first = view[0][1]
            if type(first) is not int or first < 0:
                raise PickleError("a view of a storage begins before it")
            return dataclasses.replace(storage, first=first)
        return storage


def _dtype(name: Name) -> torch.dtype:
    dtype = getattr(torch, name.path.removeprefix("torch."), None) if name.path.startswith("torch.") else None
    if not isinstance(dtype, torch.dtype):
        raise PickleError(f"{name.path} is not a type of numbers")
    return dtype


def _map(args: tuple[Any, ...]) -> dict[Any, Any]:
    """Return the map that a class of maps makes of a list of pairs, or of nothing."""
    pairs = args[0] if args and isinstance(args[0], list) else []
    return {key: value for key, value in pairs if isinstance(key, str | int)}


def _required(value: Any, kind: type) -> Any:  # noqa: ANN401
    if not isinstance(value, kind):
        raise PickleError(f"its pickle is damaged: {type(value).__name__} in place of {kind.__name__}")
    return value
