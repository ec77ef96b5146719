"""Functions run by several processes that talk by gloo."""

import torch
import torch.distributed as dist
import torch.multiprocessing

from spin_fairseq.modules.sinkhorn import sinkhorn


def on_ranks(number, function, folder, *arguments):
    """-> what `function(rank, *arguments)` returned on each rank. The function is one of a module, not of a test."""
    folder.mkdir()
    torch.multiprocessing.spawn(_run, (number, function, folder, arguments), nprocs=number)
    return [torch.load(folder / str(rank)) for rank in range(number)]


def _run(rank, number, function, folder, arguments):
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{folder}/address", rank=rank, world_size=number)
    torch.save(function(rank, *arguments), folder / str(rank))
    dist.destroy_process_group()


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
