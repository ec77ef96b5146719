"""Which of torch's implementations of attention a training may use."""

import torch


def leave_out_cudnn_attention():
    """cuDNN plans its attention anew for each shape, and batches of speech have many; flash attention takes any shape."""
    if hasattr(torch.backends.cuda, "enable_cudnn_sdp"):  # torch before 2.3 has none
        torch.backends.cuda.enable_cudnn_sdp(False)
