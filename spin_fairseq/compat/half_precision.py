"""Half-precision training: gradients that fairseq unscales twice, state that it does not save, and waits for the GPU.

- `common.amp`: gradients are divided by the loss scale once. fairseq unscales the gradients of one optimiser, but steps
  another, the wrapper around it, so that torch's scaler divides the same gradients twice.
- `common.amp`: the loss scale is saved, and restored when the run resumes.
- `common.fp16`, `common.bf16`: the float32 copies of the weights are saved with the optimiser's state, and a resumed run
  continues from them. fairseq recomputes them from the rounded half-precision weights, so that a resumed run differs
  from an uninterrupted one.
- `common.cpu` on a machine that has a GPU: gradients are clipped on the CPU.
- Logging does not wait for the GPU. After each optimiser step fairseq reads five numbers from the device to round them,
  but prints them only every `common.log_interval` updates.
"""

import logging

import torch

from ..errors import CheckpointError
from .training import replace

logger = logging.getLogger(__name__)

MASTERS = "fp32_params"  # beside fairseq's own "loss_scale" in the optimiser's state
SCALER = "grad_scaler"


# --- amp ------------------------------------------------------------------------------------------------------------


def _step_what_was_unscaled(_):
    def step(self):
        self.scaler.step(self.optimizer)
        self.scaler.update()

    return step


def _save_scale(state_dict):
    return lambda self: {**state_dict(self), SCALER: self.scaler.state_dict()}


def _load_scale(load_state_dict):
    def load(self, state_dict, optimizer_overrides=None):
        load_state_dict(self, state_dict, optimizer_overrides)
        if state_dict.get(SCALER):  # empty where the scaler was off
            self.scaler.load_state_dict(state_dict[SCALER])

    return load


# --- fp16 and bf16 --------------------------------------------------------------------------------------------------


def _masters(optimizer):
    """The float32 copies of the weights: a list with one tensor for each parameter, or one flat tensor for each device."""
    params = optimizer.fp32_params
    return list(params.values()) if isinstance(params, dict) else list(params)


def _save_masters(state_dict):
    def with_masters(self):
        masters = torch.cat([weights.detach().reshape(-1) for weights in _masters(self)])
        return {**state_dict(self), MASTERS: masters}

    return with_masters


def _load_masters(load_state_dict):
    def load(self, state_dict, optimizer_overrides=None):
        saved, own = state_dict.get(MASTERS), _masters(self)
        wanted = sum(weights.numel() for weights in own)
        if saved is not None and saved.numel() != wanted:
            raise CheckpointError(
                f"the checkpoint holds the optimiser's state of {saved.numel():,} weights, and {wanted:,} are trained now: "
                "set model.freeze, head_dims and codebook_sizes as they were, or checkpoint.reset_optimizer=true"
            )
        load_state_dict(self, state_dict, optimizer_overrides)
        if saved is None:
            logger.info(
                "the checkpoint holds no float32 copies of the weights: training goes on from the half-precision ones, "
                "and differs by their rounding from the run that was stopped"
            )
            return
        with torch.no_grad():
            for weights, kept in zip(own, saved.split([weights.numel() for weights in own])):
                weights.copy_(kept.view_as(weights))

    return load


# --- logging --------------------------------------------------------------------------------------------------------


def _norm_on_host(clip_grad_norm):
    """Copy the norm of the gradient to the host, once. The optimiser step depends on it, so that this wait is needed; fairseq
    would wait each time that it reads the norm.

    With `common.cpu` on a machine that has a GPU, fairseq would compute the norm there, and fail to multiply by it.
    """

    def clip(self, clip_norm):
        if self.cuda:
            return clip_grad_norm(self, clip_norm).cpu()
        is_available, torch.cuda.is_available = torch.cuda.is_available, lambda: False
        try:
            return clip_grad_norm(self, clip_norm)
        finally:
            torch.cuda.is_available = is_available

    return clip


def _sums_on_host(sync):
    """With several ranks: copy all sums over ranks to the host before the optimiser step, where fairseq waits for one of
    them anyway."""

    from fairseq.utils import move_to_cpu

    def fast_stat_sync_sum(self, logging_outputs, *extra_stats_to_sum, ignore=False):
        return move_to_cpu(sync(self, logging_outputs, *extra_stats_to_sum, ignore=ignore))

    return fast_stat_sync_sum


def _round_later(reduce_and_log):
    """Round values only when they are printed. fairseq also rounds them after each update, for a return value that its
    training command only compares with None."""

    from fairseq.logging import meters

    def reduce_and_log_stats(self, *args, **kwargs):
        safe_round, meters.safe_round = meters.safe_round, lambda number, ndigits: number
        try:
            return reduce_and_log(self, *args, **kwargs)
        finally:
            meters.safe_round = safe_round

    return reduce_and_log_stats


def mend_half_precision() -> None:
    """Apply the patches of this module; safe to call twice."""
    from fairseq.optim.amp_optimizer import AMPOptimizer
    from fairseq.optim.fp16_optimizer import FP16Optimizer
    from fairseq.trainer import Trainer

    replace(AMPOptimizer, "step", _step_what_was_unscaled)
    replace(AMPOptimizer, "state_dict", _save_scale)
    replace(AMPOptimizer, "load_state_dict", _load_scale)
    replace(FP16Optimizer, "state_dict", _save_masters)
    replace(FP16Optimizer, "load_state_dict", _load_masters)
    replace(Trainer, "clip_grad_norm", _norm_on_host)
    replace(Trainer, "_fast_stat_sync_sum", _sums_on_host)
    replace(Trainer, "_reduce_and_log_stats", _round_later)
