"""What torch >= 2.6 may build out of a fairseq checkpoint; `torch.load` refuses everything else."""

import numpy as np
import torch

from ..unpickling import CHECKPOINT_NAMES, lookup

# Absent names are passed over: omegaconf 2.0 and 2.3 differ, and so do numpy 1 and 2.
_FAIRSEQ_NAMES = [
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


def allow_checkpoint_classes():
    """Let torch >= 2.6 read checkpoints of fairseq while it goes on refusing everything else."""
    if not hasattr(torch.serialization, "add_safe_globals"):
        return
    found = [lookup(module, name) for module, name in [*sorted(CHECKPOINT_NAMES), *_FAIRSEQ_NAMES]]
    allowed = [value for value in found if value is not None]
    # numpy pickles its dtypes by class (numpy >= 1.25), each a class of its own.
    dtypes = getattr(np, "dtypes", None)
    allowed += [value for value in vars(dtypes).values() if isinstance(value, type)] if dtypes else []
    # Scalars pickled by numpy 1 name numpy.core, those by numpy 2 numpy._core: the same function, both spellings.
    scalar = lookup("numpy._core.multiarray", "scalar")
    if scalar is not None:
        allowed.append((scalar, "numpy.core.multiarray.scalar"))
    torch.serialization.add_safe_globals(allowed)
