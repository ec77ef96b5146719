"""Functions run by several processes that talk by gloo, or by NCCL."""

import os

import torch
import torch.distributed as dist
import torch.multiprocessing

from spin_fairseq.modules import sinkhorn as sinkhorn_module
from spin_fairseq.modules.codebook_start import broadcast_weights
from spin_fairseq.modules.sinkhorn import sinkhorn


def on_ranks(number, function, folder, *arguments, backend="gloo"):
    """-> what `function(rank, *arguments)` returned on each rank. The function is one of a module, not of a test."""
    folder.mkdir()
    torch.multiprocessing.spawn(_run, (number, backend, function, folder, arguments), nprocs=number)
    return [torch.load(folder / str(rank)) for rank in range(number)]


def _run(rank, number, backend, function, folder, arguments):
    torch.set_num_threads(1)
    dist.init_process_group(backend, init_method=f"file://{folder}/address", rank=rank, world_size=number)
    torch.save(function(rank, *arguments), folder / str(rank))
    dist.barrier()
    os._exit(0)  # not through destroy_process_group, which may hang in gloo of torch 2.2 when another rank has left


def sinkhorn_in_a_group(rank, scores, members):
    """The members' shares of an assignment; the other ranks take no part."""
    group = dist.new_group(members)
    return sinkhorn(scores.chunk(len(members))[members.index(rank)], group=group) if rank in members else None


def head_of_a_rank(rank, speech, cfg, gone):
    """Weights of a head that starts from k-means of the speech, which only the first rank can read."""
    from tests.small_task import small_task

    torch.manual_seed(rank)
    task = small_task(speech) if rank == 0 else small_task(speech, data=gone)
    return dict(task.build_model(cfg).head.state_dict())


def start_and_assignment(rank, device):
    """A broadcast from the first rank, and an assignment by reductions over the group: -> whether both are right."""
    group = dist.new_group()
    head = torch.nn.Linear(4, 3)
    before = head.weight.detach().clone()
    broadcast_weights(head, group)
    scores = torch.rand(40, 5).to(device)
    sinkhorn_module._several_ranks = lambda group: True  # as with more of them
    found = sinkhorn(scores, group=group).cpu()
    sinkhorn_module._several_ranks = lambda group: False
    return torch.equal(before, head.weight) and torch.allclose(found, sinkhorn(scores.cpu()), atol=1e-5)
