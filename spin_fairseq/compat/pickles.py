"""The classes that torch >= 2.6 may build when it loads a fairseq checkpoint; `torch.load` refuses all others."""

import numpy as np
import torch

from ..unpickling import CHECKPOINT_NAMES, lookup

# Names that do not exist are skipped: omegaconf 2.0 and 2.3 have different ones, and so have numpy 1 and 2.
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


def allow_checkpoint_classes() -> None:
    """Let torch >= 2.6 read fairseq's checkpoints; it continues to refuse all other classes."""
    if not hasattr(torch.serialization, "add_safe_globals"):
        return
    found = [lookup(module, name) for module, name in [*sorted(CHECKPOINT_NAMES), *_FAIRSEQ_NAMES]]
    allowed = [value for value in found if value is not None]
    # numpy >= 1.25 has a class for each dtype, and a pickled dtype names its class.
    dtypes = getattr(np, "dtypes", None)
    allowed += [value for value in vars(dtypes).values() if isinstance(value, type)] if dtypes else []
    # A scalar pickled by numpy 1 names numpy.core, one by numpy 2 names numpy._core; both are the same function.
    scalar = lookup("numpy._core.multiarray", "scalar")
    if scalar is not None:
        allowed.append((scalar, "numpy.core.multiarray.scalar"))
    torch.serialization.add_safe_globals(allowed)
