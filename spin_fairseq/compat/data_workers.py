"""Make data workers end when they should. All versions of torch and fairseq need this, unless a function says otherwise."""

import importlib
import multiprocessing.queues
import os

import torch
from torch.utils.data import _utils as torch_data_utils

SECONDS_FOR_A_WORKER_TO_END = 0.2


def end_workers_quickly() -> None:
    """Wait 0.2 s instead of 5 s for each data worker at the end of an epoch or validation.

    fairseq does not close its data loaders. Reference cycles (with the batch sampler, and with tracebacks that omegaconf
    keeps) hold them until Python's garbage collector finds them. The collector closes the queues to the workers first, so
    that no worker receives the message to stop. Training then waits for torch's timeout, after which torch kills the
    worker. All batches have been delivered by then, so that a short timeout loses nothing.
    """
    if hasattr(torch_data_utils, "MP_STATUS_CHECK_INTERVAL"):
        torch_data_utils.MP_STATUS_CHECK_INTERVAL = SECONDS_FOR_A_WORKER_TO_END


def end_workers_that_cannot_deliver() -> None:
    """End a data worker that cannot hand over its batch, because file handles or shared memory ran out.

    Python prints such an error in the worker, drops the batch and goes on; training then waits for the batch for ever.
    When the worker ends instead, torch raises an error in the training.
    """
    report = multiprocessing.queues.Queue._on_queue_feeder_error

    def end(error, item):
        report(error, item)
        if torch.utils.data.get_worker_info() is not None:
            os._exit(1)

    if report.__module__ != __name__:
        multiprocessing.queues.Queue._on_queue_feeder_error = staticmethod(end)


def import_what_workers_would() -> None:
    """Import a module before data workers are forked.

    torch 2.2 imports it in a thread of the worker. That thread waits for ever if another thread held the import lock at
    the time of the fork.
    """
    try:
        importlib.import_module("torch.nested._internal.nested_tensor")
    except ImportError:  # other versions of torch have no such module
        pass
