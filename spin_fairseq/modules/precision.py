"""In which precision the head, the assignment and the loss compute, whatever the model's weights have."""

import torch


def at_least_float32(x: torch.Tensor) -> torch.Tensor:
    """Half precision as float32; float32 and float64 as they are."""
    return x.to(torch.promote_types(x.dtype, torch.float32))
