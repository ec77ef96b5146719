"""What is mended in fairseq's half-precision training: its own optimisers and trainer, on small weights."""

import copy
import types

import pytest
import torch
from fairseq.dataclass.configs import CommonConfig
from fairseq.logging import metrics
from fairseq.optim.adam import FairseqAdamConfig
from fairseq.optim.amp_optimizer import AMPOptimizer
from fairseq.optim.fp16_optimizer import FP16Optimizer
from fairseq.trainer import Trainer
from omegaconf import OmegaConf

from spin_fairseq.compat import apply
from spin_fairseq.errors import CheckpointError
from spin_fairseq.modules.scaled_updates import scale_updates
from tests.fake_cuda import fake_cuda


def config(**common):
    return OmegaConf.create({
        "common": {**vars(CommonConfig()), **common},
        "optimizer": {**vars(FairseqAdamConfig()), "lr": [0.01], "tpu": False, "_name": "adam"},
        "optimization": {"update_freq": [1], "clip_norm": 10.0, "use_bmuf": False},
        "distributed_training": {"distributed_world_size": 1, "ddp_backend": "legacy_ddp"},
    })  # fmt: skip


# --- amp ------------------------------------------------------------------------------------------------------------


def amp_optimizer(weight, scale=128.0):
    """fairseq's, with the scaler of the CPU in the place of that of the GPU, which turns itself off here."""
    optimizer = AMPOptimizer.build_optimizer(config(amp=True), [weight])
    if not hasattr(torch.amp, "GradScaler"):
        pytest.skip("this torch has no gradient scaler for CPUs")
    optimizer._grad_scaler = torch.amp.GradScaler("cpu", init_scale=scale)
    return optimizer


def seen_by_adam(optimizer, weight, loss, clip=0.0):
    seen = []
    optimizer.optimizer.register_step_pre_hook(lambda *_: seen.append(weight.grad.clone()))
    optimizer.zero_grad()
    optimizer.backward(loss)
    norm = optimizer.clip_grad_norm(clip)
    optimizer.step()
    return norm, seen


def test_amp_divides_gradients_by_the_scale_once():
    """fairseq's own step divided them a second time: Adam saw 1/128 of the gradient."""
    weight = torch.nn.Parameter(torch.tensor([3.0, 4.0]))
    norm, (gradient,) = seen_by_adam(amp_optimizer(weight), weight, (weight**2).sum() / 2)
    torch.testing.assert_close(gradient, torch.tensor([3.0, 4.0]))
    assert norm == pytest.approx(5.0)


def test_amp_clips_what_is_unscaled():
    weight = torch.nn.Parameter(torch.tensor([3.0, 4.0]))
    _, (gradient,) = seen_by_adam(amp_optimizer(weight), weight, (weight**2).sum() / 2, clip=1.0)
    torch.testing.assert_close(gradient, torch.tensor([0.6, 0.8]), rtol=1e-5, atol=0)


def test_amp_skips_a_step_that_overflows_and_lowers_the_scale():
    weight = torch.nn.Parameter(torch.tensor([3.0, 4.0]))
    optimizer = amp_optimizer(weight)
    _, seen = seen_by_adam(optimizer, weight, (weight * torch.tensor([1.0, torch.inf])).sum())
    assert seen == [] and optimizer.scaler.get_scale() == 64
    torch.testing.assert_close(weight.detach(), torch.tensor([3.0, 4.0]))


def test_amp_saves_its_scale():
    weight = torch.nn.Parameter(torch.ones(2))
    first, second = amp_optimizer(weight, scale=32.0), amp_optimizer(weight, scale=128.0)
    seen_by_adam(first, weight, weight.sum())
    second.load_state_dict(first.state_dict())
    assert second.scaler.get_scale() == 32
    state = first.state_dict()
    del state["grad_scaler"]  # as fairseq alone saves it
    amp_optimizer(weight).load_state_dict(state)


# --- fp16 and bf16 --------------------------------------------------------------------------------------------------


@pytest.fixture(params=["bf16", "fp16 flat", "fp16"])
def make_optimizer(request, monkeypatch):
    """make_optimizer(sizes) -> half-precision weights of these sizes, and fairseq's optimiser of them."""
    half = torch.bfloat16 if request.param == "bf16" else torch.float16
    monkeypatch.setattr(torch.cuda, "current_device", lambda: None)  # the index of the CPU, where flat weights are made
    common = {"bf16": request.param == "bf16", "fp16": request.param != "bf16"}
    common["fp16_no_flatten_grads"] = request.param == "fp16"

    def make(values=None):
        values = (torch.randn(3, 2), torch.randn(5)) if values is None else values
        weights = [torch.nn.Parameter(value.to(half)) for value in values]
        return weights, FP16Optimizer.build_optimizer(config(**common), weights)

    return make


def updates(weights, optimizer, number, begin=0):
    for update in range(begin, begin + number):
        optimizer.zero_grad()
        generator = torch.Generator().manual_seed(update)
        loss = sum((weight * torch.randn(weight.shape, generator=generator)).float().sum() for weight in weights)
        optimizer.backward(loss)
        optimizer.clip_grad_norm(10.0)
        optimizer.step()
    return [weights.detach().clone() for weights in weights]


def restart(make, weights, optimizer, without=()):
    """As fairseq resumes: an optimiser that is made of the weights in the checkpoint, and then its state."""
    state = {key: copy.deepcopy(value) for key, value in optimizer.state_dict().items() if key not in without}
    again, resumed = make([value.detach().clone() for value in weights])
    resumed.load_state_dict(state)
    return again, resumed


def test_a_resumed_run_goes_on_from_float32_weights(make_optimizer):
    """fairseq's own goes on from the rounded weights: the second half of a run depended on where it was stopped."""
    torch.manual_seed(0)
    weights, optimizer = make_optimizer()
    updates(weights, optimizer, 5)
    again, resumed = restart(make_optimizer, weights, optimizer)
    assert all(map(torch.equal, optimizer.fp32_optimizer.params, resumed.fp32_optimizer.params))
    rounded = restart(make_optimizer, weights, optimizer, without=["fp32_params"])[1]
    assert not all(map(torch.equal, optimizer.fp32_optimizer.params, rounded.fp32_optimizer.params))
    assert all(map(torch.equal, updates(weights, optimizer, 5, 5), updates(again, resumed, 5, 5)))


def test_updates_of_float32_copies_are_scaled(make_optimizer):
    """The optimiser holds copies, flattened or not: a factor of a half-precision weight reached none of them."""
    weights, optimizer = make_optimizer([torch.zeros(3, 2), torch.zeros(5)])
    scale_updates(optimizer.optimizer, [(6, 0.25), (5, 1.0)])
    updates(weights, optimizer, 1)  # Adam's first step is as long as the learning rate
    masters = torch.cat([copied.detach().reshape(-1) for copied in optimizer.fp32_optimizer.params]).abs()
    assert masters[:6].tolist() == pytest.approx([0.0025] * 6, rel=1e-3)
    assert masters[6:].tolist() == pytest.approx([0.01] * 5, rel=1e-3)


def test_a_state_without_float32_weights_is_resumed_and_said(make_optimizer, caplog):
    caplog.set_level("INFO")
    weights, optimizer = make_optimizer()
    updates(weights, optimizer, 2)
    restart(make_optimizer, weights, optimizer, without=["fp32_params"])
    assert "holds no float32 copies of the weights" in caplog.text


def test_the_state_of_other_weights_is_refused(make_optimizer):
    weights, optimizer = make_optimizer()
    updates(weights, optimizer, 1)
    with pytest.raises(CheckpointError, match="state of 11 weights, and 7 are trained now: set model.freeze"):
        make_optimizer([torch.ones(7)])[1].load_state_dict(optimizer.state_dict())


# --- logging --------------------------------------------------------------------------------------------------------


class Logging(Trainer):
    """A trainer of which the logging alone is looked at."""

    def __init__(self, reduce_metrics=None, optimizer=None, cuda=True):
        self.cfg, self.cuda = config(), cuda
        self.task, self._criterion, self._optimizer = (
            types.SimpleNamespace(reduce_metrics=reduce_metrics),
            None,
            optimizer,
        )
        self._warn_once, self.tpu = set(), False


def test_logging_an_update_does_not_wait():
    """fairseq rounded each value after each update, which asks the device for it."""

    def reduce_metrics(logs, criterion):
        metrics.log_scalar("loss", sum(log["loss"] for log in logs) / 8, 8, round=4)

    with fake_cuda(), metrics.aggregate("train_inner", new_root=True) as inner:
        for _ in range(2):
            Logging(reduce_metrics)._reduce_and_log_stats([{"loss": torch.ones((), device="cuda")}], 8)
        assert inner["loss"].sum.device.type == "cuda"
        with pytest.raises((RuntimeError, AssertionError)):
            inner.get_smoothed_values()  # printing does


def test_what_is_printed_is_rounded():
    def reduce_metrics(logs, criterion):
        metrics.log_scalar("loss", logs[0], 8, round=2)

    with metrics.aggregate(new_root=True) as inner:
        Logging(reduce_metrics)._reduce_and_log_stats([torch.tensor(1.23456)], 8)
    assert inner.get_smoothed_values()["loss"] == 1.23


def test_the_norm_of_the_gradient_is_waited_for_once():
    """It was asked for again after the optimiser's step."""
    with fake_cuda():
        optimizer = types.SimpleNamespace(clip_grad_norm=lambda *_, **__: torch.ones((), device="cuda"))
        assert Logging(optimizer=optimizer).clip_grad_norm(10.0).device.type == "cpu"


def test_gradients_on_the_cpu_of_a_machine_with_a_gpu(monkeypatch):
    """fairseq takes their norm to the GPU, and fails to multiply gradients on the CPU by it."""
    from fairseq.utils import clip_grad_norm_

    weight = torch.ones(2, 3, requires_grad=True)
    other = torch.ones(4, requires_grad=True)
    (weight.sum() * 30 + other.sum()).backward()
    optimizer = types.SimpleNamespace(
        clip_grad_norm=lambda norm, aggregate_norm_fn=None: clip_grad_norm_([weight, other], norm)
    )
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "current_device", lambda: "meta")
    norm = Logging(optimizer=optimizer, cuda=False).clip_grad_norm(10.0)
    assert norm.item() == pytest.approx((6 * 30**2 + 4) ** 0.5)
    assert torch.cat([weight.grad.flatten(), other.grad]).norm().item() == pytest.approx(10.0, rel=1e-5)
    assert torch.cuda.is_available()


def test_sums_over_ranks_are_on_the_host(monkeypatch):
    """A sum that stays on the device is waited for each time that it is compared with a number."""
    monkeypatch.setattr(
        "fairseq.distributed.utils.all_reduce_dict",
        lambda data, device, group: {key: torch.ones((), device="cuda") for key in data},
    )
    with fake_cuda():
        trainer = Logging()
        trainer.device, trainer.cfg.distributed_training.distributed_world_size = torch.device("cuda"), 2
        monkeypatch.setattr(Logging, "data_parallel_process_group", None)
        logs, (frames,) = trainer._fast_stat_sync_sum([{"loss": torch.ones((), device="cuda")}], 8)
        assert logs[0]["loss"].device.type == frames.device.type == "cpu"


def test_cudnns_attention_is_left_out():
    """It plans for each shape of a batch: half a second, for each of hundreds."""
    if not hasattr(torch.backends.cuda, "cudnn_sdp_enabled"):
        pytest.skip("this torch has no such attention")
    torch.backends.cuda.enable_cudnn_sdp(True)
    apply()
    assert not torch.backends.cuda.cudnn_sdp_enabled() and torch.backends.cuda.flash_sdp_enabled()
