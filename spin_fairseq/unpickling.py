"""Pickles are read here, and nothing in them is executed.

An unpickler looks up every class and function that a pickle names. These look them up in a list, and refuse the rest:

- `PlainUnpickler` builds containers, numbers, strings, and numpy's scalars and arrays of numbers;
- `CheckpointUnpickler` builds tensors too. An object of a training framework becomes a stand-in: nothing is imported
  for it, and a configuration of omegaconf becomes the dictionary or list that it holds.

`checkpoint_pickle` serves `torch.load(..., pickle_module=checkpoint_pickle)` under every torch version.
"""

from __future__ import annotations

import importlib
import pickle
import re
import struct
import types
from _compat_pickle import IMPORT_MAPPING, NAME_MAPPING
from typing import Any
from collections.abc import Callable

import numpy as np


class ForbiddenGlobal(pickle.UnpicklingError):
    """A pickle names a class or function that is not on the list."""


def _latin1(text: str, encoding: str) -> bytes:
    """Pickle protocol 2 spells bytes as a call of `codecs.encode(text, "latin1")`; nothing else is encoded."""
    if encoding not in ("latin1", "latin-1"):
        raise ForbiddenGlobal(f"_codecs.encode to {encoding!r}")
    return text.encode("latin-1")


def _bytes_of(kind: type) -> Callable:
    """bytes or bytearray, out of bytes alone: called with a number they would make that many."""

    def make(content: bytes = b"") -> bytes | bytearray:
        if not isinstance(content, (bytes, bytearray)):
            raise ForbiddenGlobal(f"builtins.{kind.__name__}({type(content).__name__})")
        return kind(content)

    return make


# Names that are looked up only when a pickle asks for one; versions of numpy and torch differ in which they have.
_CONTAINERS = ("dict", "list", "tuple", "set", "frozenset", "int", "float", "bool", "str", "complex", "slice")
PLAIN_NAMES = {
    *(("builtins", name) for name in _CONTAINERS),
    ("collections", "defaultdict"),
    ("collections", "OrderedDict"),
}
CHECKPOINT_NAMES = PLAIN_NAMES | {("argparse", "Namespace"), ("typing", "Any")}
_TORCH_NAMES = {
    ("torch._utils", "_rebuild_tensor"),
    ("torch._utils", "_rebuild_tensor_v2"),
    ("torch._utils", "_rebuild_parameter"),
    ("torch", "Size"),
    ("torch", "device"),
    ("torch", "Tensor"),
    ("torch.nn.parameter", "Parameter"),
    ("torch.serialization", "_get_layout"),
}


# numpy's own functions believe what a pickle says of types and sizes, and crash at a forged one. These check it.


class _Type:
    """Stands in for `numpy.dtype`: of numbers alone."""

    def __init__(self, code: str = "", *_: Any):
        if not re.fullmatch(r"[biufc]\d{1,2}|\?", str(code)):
            raise ForbiddenGlobal(f"numpy.dtype({str(code)[:40]!r})")
        self.dtype = np.dtype(code)

    def __setstate__(self, state: Any) -> None:
        if isinstance(state, tuple) and len(state) > 1 and state[1] == ">":
            self.dtype = self.dtype.newbyteorder(">")


def _array(content: Any, kind: Any, shape: Any, order: Any = "C") -> np.ndarray:
    """ValueError where the content has not just the bytes of that shape."""
    if not isinstance(kind, _Type) or not isinstance(content, (bytes, bytearray, str)):
        raise ForbiddenGlobal("an array of numpy that is not of numbers")
    content = content.encode("latin-1") if isinstance(content, str) else content  # as Python 2 wrote it
    return np.frombuffer(content, kind.dtype).reshape(shape, order=order)


def _scalar(kind: Any, content: Any) -> Any:
    return _array(content, kind, (1,))[0]


class _Array:
    """Stands in for an array until its content comes, and behaves as that array then."""

    def __init__(self, *_: Any):
        self.array = np.zeros(0)

    def __setstate__(self, state: Any) -> None:
        _, shape, kind, fortran, content = state
        self.array = _array(content, kind, shape, "F" if fortran else "C")

    def __getitem__(self, index: Any) -> Any:
        return self.array[index]

    def __len__(self) -> int:
        return len(self.array)

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_") or "array" not in vars(self):
            raise AttributeError(name)
        return getattr(self.array, name)

    def __array__(self, *args: Any, **kwargs: Any) -> np.ndarray:
        return np.asarray(self.array, *args, **kwargs)


def _array_class(*_: Any) -> None:
    """Stands in for `numpy.ndarray`, which a pickle names beside `_reconstruct`, and does not call."""
    raise ForbiddenGlobal("numpy.ndarray")


_NUMPY = {("multiarray", "scalar"): _scalar, ("multiarray", "_reconstruct"): _Array, ("numeric", "_frombuffer"): _array}
_MADE_HERE = {
    ("_codecs", "encode"): _latin1,
    ("builtins", "bytes"): _bytes_of(bytes),
    ("builtins", "bytearray"): _bytes_of(bytearray),
    ("numpy", "dtype"): _Type,
    ("numpy", "ndarray"): _array_class,
    **{(f"numpy.{core}.{module}", name): made for core in ("core", "_core") for (module, name), made in _NUMPY.items()},
}


def lookup(module: str, name: str) -> Any:
    """The object of this name, or None where the installed version has none."""
    try:
        return getattr(importlib.import_module(module), name, None)
    except ImportError:
        return None


class PlainUnpickler(pickle._Unpickler):  # the Python one: the C one allocates whatever a forged index asks for
    """Builds containers, numbers, strings, numpy scalars and arrays. Raises ForbiddenGlobal for anything else."""

    names = PLAIN_NAMES

    def load(self) -> Any:
        try:
            return super().load()
        except struct.error as error:
            raise pickle.UnpicklingError(f"pickle data was truncated ({error})") from None

    def load_build(self) -> None:
        """Set an object's state; that of a class or function would change it for the whole program."""
        if callable(self.stack[-2]):
            raise ForbiddenGlobal(f"another {getattr(self.stack[-2], '__name__', 'object')}")
        super().load_build()

    def load_bytearray8(self) -> None:
        """Read what is there; Python makes room for as many bytes as the pickle says, first of all."""
        (size,) = struct.unpack("<Q", self.read(8))
        self.append(bytearray(self.read(size)))

    dispatch = {**pickle._Unpickler.dispatch, pickle.BUILD[0]: load_build, pickle.BYTEARRAY8[0]: load_bytearray8}

    def find_class(self, module: str, name: str) -> Any:
        # Protocol 2 spells what is built in by its names of Python 2: __builtin__.long.
        module, name = NAME_MAPPING.get((module, name), (IMPORT_MAPPING.get(module, module), name))
        found = _MADE_HERE.get((module, name))
        if found is None and (module, name) in self.names:
            found = lookup(module, name)
        if found is None:
            raise ForbiddenGlobal(f"{module}.{name}")
        return found


# Packages whose objects (loggers, meters, callbacks) lie in checkpoints beside the tensors, and are of no use here.
_FRAMEWORKS = {"fairseq", "pytorch_lightning", "lightning", "lightning_fabric", "lightning_utilities", "wandb"}


class StandIn(dict):
    """Takes the place of a framework's object: it keeps the items of a dictionary, and ignores all else."""

    def __init__(self, *_: Any, **__: Any):
        super().__init__()

    def __setstate__(self, state: Any) -> None:
        pass

    def append(self, _: Any) -> None:
        pass

    def extend(self, _: Any) -> None:
        pass

    def add(self, _: Any) -> None:
        pass


class _ConfigNode(StandIn):
    """A value of an omegaconf configuration."""

    value: Any = None

    def __setstate__(self, state: Any) -> None:
        self.value = state.get("_val") if isinstance(state, dict) else None


class _ConfigContainer(StandIn):
    """A DictConfig: the dictionary that it holds. Its children are complete when its own state is set."""

    value: Any = None

    def __setstate__(self, state: Any) -> None:
        content = state.get("_content") if isinstance(state, dict) else None
        if isinstance(content, dict):
            self.update({_value(key): _value(child) for key, child in content.items()})
            self.value = dict(self)
        elif isinstance(content, list):
            self.value = [_value(child) for child in content]
        else:  # missing, None, or an interpolation
            self.value = content


def _value(node: Any) -> Any:
    return node.value if isinstance(node, (_ConfigNode, _ConfigContainer)) else node


_OMEGACONF = {"omegaconf.dictconfig": _ConfigContainer, "omegaconf.listconfig": _ConfigContainer}
_OMEGACONF.update({"omegaconf.nodes": _ConfigNode, "omegaconf.base": StandIn})


class CheckpointUnpickler(PlainUnpickler):
    """Builds what checkpoints of speech models consist of. Raises ForbiddenGlobal for anything else."""

    names = CHECKPOINT_NAMES | _TORCH_NAMES

    def find_class(self, module: str, name: str) -> Any:
        if module in _OMEGACONF:
            return _OMEGACONF[module]
        if module.partition(".")[0] in _FRAMEWORKS:
            return StandIn
        if module == "torch":
            import torch

            constant = getattr(torch, name, None)
            if isinstance(constant, (torch.dtype, torch.layout)):
                return constant
        return super().find_class(module, name)


# Stands where torch takes a module: it builds only what checkpoints consist of.
checkpoint_pickle = types.SimpleNamespace(
    __name__="checkpoint_pickle",
    Unpickler=CheckpointUnpickler,
    load=lambda file, **options: CheckpointUnpickler(file, **options).load(),
    UnpicklingError=pickle.UnpicklingError,
)
