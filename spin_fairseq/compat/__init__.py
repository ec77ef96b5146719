"""All knowledge of fairseq, torch, numpy and omegaconf versions; nothing else in the package asks for one.

`apply()` is called once, before anything is registered with fairseq. It
- gives numpy >= 1.24 the aliases (`np.int`, `np.float`, `np.bool`) that fairseq still uses;
- lists, for torch >= 2.6, the classes that fairseq checkpoints consist of (`pickles`);
- imports fairseq's models without the change of the root logger that one of them makes;
- imports beforehand what a data worker would import in a thread, and hang;
- lets hydra 1.0 print an error under Python 3.10, which has no `etype` in `traceback.print_exception`;
- ends a data worker that cannot hand over its batch, so that training does not wait for it;
- mends how fairseq saves, resumes and stops a run (`training`), and where it looks for files (`paths`);
- mends what half precision loses, and logging that waits for the GPU (`half_precision`).
"""

import importlib
import logging
import multiprocessing.queues
import os
import sys
import traceback

import numpy as np
import torch
from torch.utils.data import _utils as torch_data_utils

from .half_precision import mend_half_precision
from .paths import mend_paths
from .pickles import allow_checkpoint_classes
from .training import mend_training

__all__ = ["apply"]

SECONDS_FOR_A_WORKER_TO_END = 0.2

_NUMPY_ALIASES = {"int": int, "float": float, "bool": bool}


def _give_numpy_its_old_names():
    for name, builtin in _NUMPY_ALIASES.items():
        if name not in np.__dict__:
            setattr(np, name, builtin)


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


def _end_data_workers_that_cannot_deliver():
    """A batch that a worker cannot hand over (no files or shared memory left) is lost, and training waits for ever.

    Python prints such an error in the worker and goes on. Where the worker ends instead, torch tells.
    """
    report = multiprocessing.queues.Queue._on_queue_feeder_error

    def end(error, item):
        report(error, item)
        if torch.utils.data.get_worker_info() is not None:
            os._exit(1)

    if report.__module__ != __name__:
        multiprocessing.queues.Queue._on_queue_feeder_error = staticmethod(end)


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
    allow_checkpoint_classes()
    _end_data_workers_quickly()
    _end_data_workers_that_cannot_deliver()
    _gather_over_gloo()
    _mend_hydra_errors()
    _import_what_workers_would()
    mend_training()
    mend_half_precision()
    mend_paths()
