"""All knowledge of fairseq, torch, numpy and omegaconf versions; nothing else in the package asks for one.

`apply()` is called once, before anything is registered with fairseq. It
- gives numpy >= 1.24 the aliases (`np.int`, `np.float`, `np.bool`) that fairseq still uses;
- lists, for torch >= 2.6, the classes that fairseq checkpoints consist of, so that `torch.load` reads them while it
  goes on refusing everything else;
- imports fairseq's models without the change of the root logger that one of them makes;
- imports beforehand what a data worker would import in a thread, and hang;
- lets hydra 1.0 print an error under Python 3.10, which has no `etype` in `traceback.print_exception`.

`restricted_pickle` serves `torch.load(..., pickle_module=restricted_pickle)` under every torch version: it builds only
what is on the same list, and a dead stand-in for what training frameworks leave in their checkpoints.
"""

import importlib
import logging
import pickle
import sys
import traceback
import types
from _compat_pickle import IMPORT_MAPPING, NAME_MAPPING

import numpy as np
import torch
from torch.utils.data import _utils as torch_data_utils

SECONDS_FOR_A_WORKER_TO_END = 0.2

_NUMPY_ALIASES = {"int": int, "float": float, "bool": bool}

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


def _give_numpy_its_old_names():
    for name, builtin in _NUMPY_ALIASES.items():
        if name not in np.__dict__:
            setattr(np, name, builtin)


def _allow_checkpoint_classes():
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


def _import_fairseq_quietly():
    root = logging.getLogger()
    level, handlers = root.level, list(root.handlers)
    importlib.import_module("fairseq.models")
    importlib.import_module("fairseq.tasks")
    root.setLevel(level)
    root.handlers[:] = handlers


def _mend_hydra_errors():
    hydra_utils = importlib.import_module("hydra._internal.utils")
    if hasattr(hydra_utils, "print_exception") and sys.version_info >= (3, 10):
        hydra_utils.print_exception = lambda etype, value, tb: traceback.print_exception(value.__class__, value, tb)


def _end_data_workers_quickly():
    """Do not wait 5 s for each data worker at the end of an epoch or validation.

    fairseq leaves its loaders to Python's garbage collector (they are in cycles: with their batch sampler, and with
    tracebacks that omegaconf keeps). That ends the queues to the workers first, so no worker hears that it should stop,
    and training stands still until torch gives up waiting and kills it. The batches have all been delivered by then.
    """
    if hasattr(torch_data_utils, "MP_STATUS_CHECK_INTERVAL"):
        torch_data_utils.MP_STATUS_CHECK_INTERVAL = SECONDS_FOR_A_WORKER_TO_END


def _gather_over_gloo():
    """fairseq gathers validation counts through a CUDA buffer; ranks on CPUs, which talk by gloo, have none."""
    from fairseq.distributed import utils
    from fairseq.utils import move_to_cpu

    through_cuda = utils.all_gather_list
    if getattr(through_cuda, "serves_gloo", False):
        return

    def all_gather_list(data, group=None, max_size=16384):
        group = utils.get_global_group() if group is None else group
        if torch.distributed.get_backend(group) != "gloo":
            return through_cuda(data, group, max_size)
        gathered = [None] * utils.get_world_size(group)
        torch.distributed.all_gather_object(gathered, move_to_cpu(data), group)
        return gathered

    all_gather_list.serves_gloo = True
    utils.all_gather_list = all_gather_list


def _import_what_workers_would():
    """torch 2.2 imports this in a thread of a forked data worker, where the import lock may never be free again."""
    try:
        importlib.import_module("torch.nested._internal.nested_tensor")
    except ImportError:  # another torch has it elsewhere
        pass


def apply():
    """Prepare numpy, torch and hydra for fairseq; safe to call twice."""
    _give_numpy_its_old_names()
    _import_fairseq_quietly()
    _allow_checkpoint_classes()
    _end_data_workers_quickly()
    _gather_over_gloo()
    _mend_hydra_errors()
    _import_what_workers_would()
