"""Torch's implementations of attention: which ones a training may use."""

import torch


def leave_out_cudnn_attention() -> None:
    """Switch off cuDNN's attention: it makes a new plan for each shape, and batches of speech have many shapes."""
    if hasattr(torch.backends.cuda, "enable_cudnn_sdp"):  # torch before 2.3 has none
        torch.backends.cuda.enable_cudnn_sdp(False)
