"""Pickles are read here, and nothing in them is executed.

An unpickler looks up every class and function that a pickle names. These look them up in a list, and refuse the rest:

- `PlainUnpickler` builds containers, numbers, strings, and numpy scalars and arrays;
- `CheckpointUnpickler` builds tensors too. An object of a training framework becomes a stand-in: nothing is imported
  for it, and a configuration of omegaconf becomes the dictionary or list that it holds.

`checkpoint_pickle` serves `torch.load(..., pickle_module=checkpoint_pickle)` under every torch version.
"""

from __future__ import annotations

import importlib
import pickle
import struct
import types
from _compat_pickle import IMPORT_MAPPING, NAME_MAPPING
from typing import Any, Callable

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
    ("numpy", "dtype"),
    ("numpy", "ndarray"),
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
# What a pickled scalar or array calls, taken from numpy itself: its private modules have moved between versions.
_NUMPY_FUNCTIONS = {
    ("multiarray", "scalar"): np.float64(0).__reduce__()[0],
    ("multiarray", "_reconstruct"): np.zeros(1).__reduce__()[0],
    ("numeric", "_frombuffer"): np.zeros(1).__reduce_ex__(5)[0],
}
_MADE_HERE = {
    ("_codecs", "encode"): _latin1,
    ("builtins", "bytes"): _bytes_of(bytes),
    ("builtins", "bytearray"): _bytes_of(bytearray),
    **{
        (f"numpy.{core}.{module}", name): function
        for core in ("core", "_core")
        for (module, name), function in _NUMPY_FUNCTIONS.items()
    },
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
