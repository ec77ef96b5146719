"""Masked spans of frames and channels, as in the pre-training of HuBERT (Hsu et al., 2021, section 3)."""

import torch

Tensor = torch.Tensor


def masked_spans(lengths: Tensor, size: int, probability: float, span: int, fewest: int) -> Tensor:
    """-> (len(lengths), size) bool, True in about this fraction of each row's first `length` places, less what overlaps.

    Spans start at different places, drawn by torch's generator; each row has at least `fewest` of them if they fit.
    """
    mask = torch.zeros(len(lengths), size, dtype=torch.bool)
    for row, length in zip(mask, lengths.tolist()):
        starts = max(length - span + 1, 1)
        count = min(max(fewest, int(probability * length / span + torch.rand(()).item())), starts)
        for start in torch.randperm(starts)[:count].tolist():
            row[start : min(start + span, length)] = True
    return mask.to(lengths.device)
