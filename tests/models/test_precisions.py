"""A training step of the whole model as fairseq's --fp16, --bf16 and --amp run it, here on the CPU."""

import contextlib

import pytest
import torch

from tests.small_hubert import LARGE_FORM, NO_DROPOUT
from tests.small_task import batch_of, recipe_criterion, small_model, small_task


def step(model, criterion, sample, precision):
    """-> loss per frame, {name: gradient}."""
    amp, dtype = precision.startswith("amp"), getattr(torch, precision.split()[-1])
    if not amp:
        model = model.to(dtype)
        sample = {**sample, "net_input": dict(sample["net_input"], source=sample["net_input"]["source"].to(dtype))}
    with torch.autocast("cpu", dtype=dtype) if amp else contextlib.nullcontext():
        loss, frames, log = criterion(model, sample)
    scale = 128.0 / frames  # fairseq's for fp16, where it starts
    (loss * scale).backward()
    assert all(torch.isfinite(torch.as_tensor(value)).all() for value in log.values())
    gradients = {name: p.grad.float() / scale for name, p in model.named_parameters() if p.grad is not None}
    return loss.item() / frames, gradients


def skip_without_kernels(precision):
    """Older builds of torch have no layer norm of float16 on the CPU."""
    try:
        torch.nn.functional.layer_norm(torch.ones(2, 4, dtype=getattr(torch, precision.split()[-1])), (4,))
    except RuntimeError as error:
        pytest.skip(str(error))


@pytest.mark.parametrize("form", [{}, {**LARGE_FORM, "normalize": True}], ids=["base", "large"])
@pytest.mark.parametrize("precision", ["float16", "bfloat16", "amp float16", "amp bfloat16"])
def test_the_step_is_that_of_float32_to_rounding(speech_folder, make_hubert, precision, form):
    skip_without_kernels(precision)
    task = small_task(speech_folder)
    task.load_dataset("train")
    sample, criterion = batch_of(task, "train", [0, 3, 5]), recipe_criterion(task).train()
    base, results = make_hubert(**NO_DROPOUT, **form), []
    for each in ("float32", precision):
        torch.manual_seed(0)
        model = small_model(base, codebook_sizes=[12, 30]).train()
        results.append(step(model, criterion, sample, each))
    (loss, gradients), (half_loss, half_gradients) = results
    assert half_loss == pytest.approx(loss, rel=0.02)
    assert half_gradients.keys() == gradients.keys()
    for name, gradient in half_gradients.items():
        assert torch.isfinite(gradient).all(), name
    first, second = (torch.cat([g.flatten() for g in each.values()]) for each in (gradients, half_gradients))
    assert torch.nn.functional.cosine_similarity(first, second, dim=0) > 0.98
