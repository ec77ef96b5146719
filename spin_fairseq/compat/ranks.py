"""Communication between the ranks of a training."""

import torch


def gather_over_gloo() -> None:
    """Let ranks on CPUs exchange validation counts.

    fairseq (all versions) sends them through a CUDA buffer, which ranks that communicate by gloo do not have.
    """
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
