"""Data workers that end when they should. All versions of torch and fairseq, unless a function says otherwise."""

import importlib
import multiprocessing.queues
import os

import torch
from torch.utils.data import _utils as torch_data_utils

SECONDS_FOR_A_WORKER_TO_END = 0.2


def end_workers_quickly():
    """Do not wait 5 s for each data worker at the end of an epoch or validation.

    fairseq leaves its loaders to Python's garbage collector (they are in cycles: with their batch sampler, and with
    tracebacks that omegaconf keeps). That ends the queues to the workers first, so no worker hears that it should stop,
    and training stands still until torch gives up waiting and kills it. The batches have all been delivered by then.
    """
    if hasattr(torch_data_utils, "MP_STATUS_CHECK_INTERVAL"):
        torch_data_utils.MP_STATUS_CHECK_INTERVAL = SECONDS_FOR_A_WORKER_TO_END


def end_workers_that_cannot_deliver():
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


def import_what_workers_would():
    """torch 2.2 imports this in a thread of a forked data worker, where the import lock may never be free again."""
    try:
        importlib.import_module("torch.nested._internal.nested_tensor")
    except ImportError:  # another torch has it elsewhere
        pass
