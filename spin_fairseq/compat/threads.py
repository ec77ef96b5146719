"""Threads of a training that computes on CPUs, where `fairseq-hydra-train` was called without settings for them."""

import logging
import os

import torch

from ..threads import chosen_by_user, described, free_cpus, usable_cpus

logger = logging.getLogger(__name__)


def leave_busy_cpus_alone() -> None:
    """torch takes a thread for each CPU, also of those that others keep busy; then all threads wait for the slowest one.

    `spin-fairseq train` has chosen before, and OMP_NUM_THREADS wins. Ranks on one machine divide what is free.
    """
    if chosen_by_user():
        return
    ranks = torch.distributed.get_world_size() if torch.distributed.is_initialized() else 1
    ranks = int(os.environ.get("LOCAL_WORLD_SIZE", ranks))
    count = max(1, free_cpus() // ranks)
    if count < torch.get_num_threads():
        torch.set_num_threads(count)
        logger.info(described(count, f"of {usable_cpus()} CPUs, some are busy; OMP_NUM_THREADS sets another number"))
