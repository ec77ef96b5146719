"""What may be built out of a checkpoint: one list, for `torch.load` and for a pickle reader of our own.

`restricted_pickle` serves `torch.load(..., pickle_module=restricted_pickle)` under every torch version: it builds only
what is on the list, and a dead stand-in for what training frameworks leave in their checkpoints.
"""

import importlib
import pickle
import types
from _compat_pickle import IMPORT_MAPPING, NAME_MAPPING

import numpy as np
import torch

# What a fairseq checkpoint consists of besides tensors: (module, name). The names are tried, absent ones passed over:
# omegaconf 2.0 and 2.3 differ, and so do numpy 1 and 2.
_CHECKPOINT_CLASSES = [
    ("argparse", "Namespace"),
    ("collections", "defaultdict"),
    ("collections", "OrderedDict"),
    ("typing", "Any"),
    ("builtins", "dict"),
    ("builtins", "list"),
    ("builtins", "tuple"),
    ("builtins", "set"),
    ("builtins", "frozenset"),
    ("builtins", "int"),
    ("builtins", "float"),
    ("builtins", "bool"),
    ("builtins", "str"),
    ("builtins", "complex"),
    ("builtins", "slice"),
    ("fairseq.data.dictionary", "Dictionary"),
    ("fairseq.distributed.utils", "_TensorPlaceholder"),  # in what the first rank sends to the others on a resume
    ("omegaconf.dictconfig", "DictConfig"),
    ("omegaconf.listconfig", "ListConfig"),
    ("omegaconf.base", "Metadata"),
    ("omegaconf.base", "ContainerMetadata"),
    ("omegaconf.nodes", "AnyNode"),
    ("omegaconf.nodes", "BooleanNode"),
    ("omegaconf.nodes", "FloatNode"),
    ("omegaconf.nodes", "IntegerNode"),
    ("omegaconf.nodes", "StringNode"),
    ("omegaconf.nodes", "EnumNode"),
    ("numpy", "dtype"),
    ("numpy", "ndarray"),
    ("numpy.core.multiarray", "scalar"),
    ("numpy.core.multiarray", "_reconstruct"),
    ("numpy._core.multiarray", "scalar"),
    ("numpy._core.multiarray", "_reconstruct"),
]
_TORCH_CLASSES = [
    ("torch._utils", "_rebuild_tensor"),
    ("torch._utils", "_rebuild_tensor_v2"),
    ("torch._utils", "_rebuild_parameter"),
    ("torch", "Size"),
    ("torch", "device"),
    ("torch", "Tensor"),
    ("torch.nn.parameter", "Parameter"),
    ("torch.serialization", "_get_layout"),
]


# Packages whose objects (loggers, meters, callbacks) lie in checkpoints beside the tensors, and are of no use here.
_FRAMEWORKS = {"fairseq", "pytorch_lightning", "lightning", "lightning_fabric", "lightning_utilities", "wandb"}


def _lookup(module, name):
    """The object, or None where this version has none."""
    try:
        return getattr(importlib.import_module(module), name, None)
    except ImportError:
        return None


def _is_torch_constant(module, name):
    return module == "torch" and isinstance(getattr(torch, name, None), (torch.dtype, torch.layout))


class ForbiddenGlobal(pickle.UnpicklingError):
    """A pickle asks for something that no checkpoint of speech models consists of."""


def _latin1(text, encoding):
    """How pickle protocol 2, which torch.save uses, spells bytes: a call of `codecs.encode`; nothing else is encoded."""
    if encoding not in ("latin1", "latin-1"):
        raise ForbiddenGlobal(f"_codecs.encode to {encoding!r}")
    return text.encode("latin-1")


def _bytes_of(kind):
    """bytes or bytearray, out of bytes alone: called with a number they would make that many."""

    def make(content=b""):
        if not isinstance(content, (bytes, bytearray)):
            raise ForbiddenGlobal(f"builtins.{kind.__name__}({type(content).__name__})")
        return kind(content)

    return make


class StandIn(dict):
    """Takes the place of a framework's object: it keeps the items of a dictionary, and ignores all else."""

    def __init__(self, *_, **__):
        super().__init__()

    def __setstate__(self, state):
        pass

    def append(self, _):
        pass

    def extend(self, _):
        pass

    def add(self, _):
        pass


class _RestrictedUnpickler(pickle.Unpickler):
    def find_class(self, module, name):
        if (module, name) == ("_codecs", "encode"):
            return _latin1
        if module.partition(".")[0] in _FRAMEWORKS and (module, name) not in _ALLOWED:
            return StandIn  # nothing is imported, nor looked up
        # Protocol 2 also spells what is built in by its names of Python 2: __builtin__.long.
        module, name = NAME_MAPPING.get((module, name), (IMPORT_MAPPING.get(module, module), name))
        if module == "builtins" and name in ("bytes", "bytearray"):
            return _bytes_of({"bytes": bytes, "bytearray": bytearray}[name])
        listed = (module, name) in _ALLOWED or _is_torch_constant(module, name)
        found = _lookup(module, name) if listed else None
        if found is None:
            raise ForbiddenGlobal(f"{module}.{name}")
        return found


_ALLOWED = set(_CHECKPOINT_CLASSES) | set(_TORCH_CLASSES)

restricted_pickle = types.ModuleType("restricted_pickle", "A `pickle` that builds only what checkpoints consist of.")
restricted_pickle.Unpickler = _RestrictedUnpickler
restricted_pickle.load = lambda file, **kwargs: _RestrictedUnpickler(file, **kwargs).load()
restricted_pickle.UnpicklingError = pickle.UnpicklingError


def allow_checkpoint_classes():
    """Let torch >= 2.6 read checkpoints of fairseq while it goes on refusing everything else."""
    if not hasattr(torch.serialization, "add_safe_globals"):
        return
    listed = [(_lookup(module, name), f"{module}.{name}") for module, name in _CHECKPOINT_CLASSES]
    allowed = [found for found, _ in listed if found is not None]
    # numpy pickles its dtypes by class (numpy >= 1.25), each a class of its own.
    dtypes = getattr(np, "dtypes", None)
    allowed += [value for value in vars(dtypes).values() if isinstance(value, type)] if dtypes else []
    # Scalars pickled by numpy 1 name numpy.core, those by numpy 2 numpy._core: the same function, both spellings.
    scalar = _lookup("numpy._core.multiarray", "scalar")
    if scalar is not None:
        allowed.append((scalar, "numpy.core.multiarray.scalar"))
    torch.serialization.add_safe_globals(allowed)
