"""Read a checkpoint file without running anything in it."""

import os
import pickle
import sys
import zipfile
from dataclasses import dataclass, field
from typing import Any
from pathlib import Path
from collections.abc import Callable

from torch import nn
import torch

from ..errors import CheckpointError, SpinError
from ..unpickling import ForbiddenGlobal, checkpoint_pickle
from .mapped_files import give_back, maps_of

AS_WRITTEN = "fetch it again, or use the file as its tool wrote it"

# What Python and torch raise on content of an unexpected form.
MALFORMED = (KeyError, IndexError, TypeError, ValueError, AttributeError, RuntimeError, ArithmeticError, AssertionError)


@dataclass
class Checkpoint:
    """What a reader found in a file: enough to build the model, and its tensors."""

    path: str
    config: dict
    state_dict: dict[str, torch.Tensor] = field(repr=False)

    def __post_init__(self):
        for name in self.state_dict:
            if not isinstance(name, str):
                raise CheckpointError(f"{self.path}: a tensor has no name but {str(name)[:80]}")

    @property
    def is_spin(self) -> bool:
        """Whether it holds a Spin, with head and codebooks, and not only an encoder."""
        return "encoder" in self.config

    def build(self, builder: Callable[[dict[str, Any]], nn.Module]) -> Any:
        """-> `builder(config)` with the tensors in it. Raises CheckpointError: it builds no model, or they do not fit.

        Call it only once: each tensor is released as soon as it is copied, so that model and file are never both in memory.
        """
        try:
            with torch.device("meta"):  # no random initialisation of what the file provides
                module = builder(self.config)
        except (SpinError, *MALFORMED) as error:
            what = f"{type(error).__name__}: {error}".rstrip(": ")
            raise CheckpointError(
                f"{self.path}: no model can be built from the configuration in it ({what}); {AS_WRITTEN}"
            ) from error
        self._compare_with(module.state_dict())
        module = module.to_empty(device="cpu")
        self._move_into(module.state_dict())
        return module

    def _compare_with(self, places):
        """Raise a CheckpointError that names what is missing, left over or of another shape."""
        tensors = self.state_dict
        problems = [f"{name} is missing" for name in places if name not in tensors]
        problems += [f"{name[:80]} has no place in the model" for name in tensors if name not in places]
        for name, place in places.items():
            tensor = tensors.get(name, place)
            if not isinstance(tensor, torch.Tensor):
                problems.append(f"{name} is a {type(tensor).__name__}, not a tensor")
            elif tensor.shape != place.shape:
                problems.append(f"{name} is of the shape {tuple(tensor.shape)}, and should be {tuple(place.shape)}")
        if problems:
            more = f", and {len(problems) - 20} more" if len(problems) > 20 else ""
            raise CheckpointError(
                f"{self.path}: the tensors do not fit the configuration in it: {', '.join(problems[:20])}{more}; {AS_WRITTEN}"
            )

    @torch.no_grad()
    def _move_into(self, places):
        """Copy the tensors into the model, one after another."""
        tensors = self.state_dict
        maps = maps_of(self.path, tensors.values())
        for name, place in places.items():
            try:
                place.copy_(tensors.pop(name))
            except MALFORMED as error:
                raise CheckpointError(f"{self.path}: {name} is not a plain tensor ({error}); {AS_WRITTEN}") from None
            give_back(maps)
            # Tests all of it, without a copy
            if place.numel() and not torch.isfinite(torch.stack(torch.aminmax(place))).all():
                raise CheckpointError(
                    f"{self.path}: {name} has numbers that are NaN or infinite; use a checkpoint of before that training "
                    "went wrong"
                )


def _refuse_programs_and_bombs(path):
    """Reject TorchScript archives, whose program torch.load would run, and archives that unpack to a huge size."""
    with zipfile.ZipFile(path) as archive:
        members = archive.infolist()
    if any(member.filename.endswith("/constants.pkl") for member in members):
        raise CheckpointError(f"{path}: is a TorchScript program, not a checkpoint of tensors; save its state_dict")
    unpacked, size = sum(member.file_size for member in members), os.path.getsize(path)
    if unpacked > size:  # torch.save compresses nothing
        raise CheckpointError(f"{path}: refused, since its {size} bytes unpack to {unpacked}, which no checkpoint does")


def _in_our_byte_order(path):
    with zipfile.ZipFile(path) as archive:
        orders = {archive.read(name) for name in archive.namelist() if name.endswith("/byteorder")}
    return (orders or {b"little"}) == {sys.byteorder.encode()}


def _is_safetensors(path):
    """A safetensors file starts with the length of its header, which is JSON."""
    with open(path, "rb") as file:
        start = file.read(9)
    return len(start) == 9 and start[8:] == b"{" and int.from_bytes(start[:8], "little") <= os.path.getsize(path)


def _read_safetensors(path):
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        return load_file(path)
    except (SafetensorError, OSError, ValueError, KeyError) as error:
        raise CheckpointError(f"{path}: no readable safetensors file, or truncated ({error}); fetch it again") from None


def _read_pickled(path):
    with open(path, "rb") as file:
        archive = file.read(4) == b"PK\x03\x04"  # as torch.load finds out
    if archive:
        _refuse_programs_and_bombs(path)
    if path.endswith(".safetensors"):  # torch.load would take it for one, by its name alone
        with open(path, "rb") as file:
            return torch.load(file, map_location="cpu", pickle_module=checkpoint_pickle)
    # Mapped, so that what is not needed, such as the optimiser's state, is never in memory. Files in the older form cannot
    # be mapped; and another byte order would be corrected in the map, which must not be written to.
    mapped = archive and _in_our_byte_order(path)
    return torch.load(path, map_location="cpu", pickle_module=checkpoint_pickle, mmap=mapped)


def read_file(path: str | Path) -> dict[str, Any]:
    """Read the dictionary in a file of torch.save, or the tensors in a safetensors file, to the CPU.

    Nothing in the file is executed: classes other than those that speech checkpoints consist of are rejected. Tensors may
    be memory maps of the file, so copy them before it changes. Raises CheckpointError.
    """
    path = str(path)
    if not os.path.isfile(path):
        raise CheckpointError(f"{path}: no such checkpoint; check model.checkpoint")
    try:
        state = _read_safetensors(path) if _is_safetensors(path) else _read_pickled(path)
    except ForbiddenGlobal as error:
        raise CheckpointError(
            f"{path}: refused, since it would build {error} on loading, which is no part of a model; "
            "use a checkpoint from a source that you trust, saved as tensors and plain containers"
        ) from None
    except (
        *MALFORMED,
        EOFError,
        OSError,
        ImportError,
        MemoryError,
        pickle.UnpicklingError,
        zipfile.BadZipFile,
    ) as error:
        raise CheckpointError(f"{path}: not a readable checkpoint, or truncated ({error}); fetch it again") from None
    if not isinstance(state, dict):
        raise CheckpointError(
            f"{path}: holds a {type(state).__name__}, not the dictionary of a checkpoint; {AS_WRITTEN}"
        )
    return state


def plain(config: Any) -> dict[str, Any]:
    """A configuration, given as a dictionary or Namespace, as a dictionary; {} for anything else."""
    return dict(config if isinstance(config, dict) else getattr(config, "__dict__", {}))
