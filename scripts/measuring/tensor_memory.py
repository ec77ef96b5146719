"""How much memory the tensors take that some code makes: on any device, and on one that is not there."""

import torch
from torch.multiprocessing.reductions import StorageWeakRef
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_flatten


class TensorMemory(TorchDispatchMode):
    """`with TensorMemory() as memory: ...`; then `memory.peak` is the largest sum of bytes of the tensors made inside.

    What was there before does not count. Storage is counted once, however many tensors are views of it.
    """

    def __init__(self):
        super().__init__()
        self.peak = 0
        self._storages = {}

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        kwargs = kwargs or {}
        given = {id_of(tensor) for tensor in tree_flatten((args, kwargs))[0] if torch.is_tensor(tensor)}
        result = function(*args, **kwargs)
        for tensor in tree_flatten(result)[0]:
            if torch.is_tensor(tensor) and id_of(tensor) not in given:
                storage = tensor.untyped_storage()
                self._storages.setdefault(storage._cdata, (StorageWeakRef(storage), storage.nbytes()))
        self._storages = {key: value for key, value in self._storages.items() if not value[0].expired()}
        self.peak = max(self.peak, sum(size for _, size in self._storages.values()))
        return result


def id_of(tensor):
    return tensor.untyped_storage()._cdata
