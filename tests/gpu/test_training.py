"""fairseq's trainer with the recipes' configurations."""

import pytest
import torch
from fairseq.logging import metrics

from measuring.fairseq_trainer import batches
from spin_fairseq.checkpoints import load_encoder, load_spin
from spin_fairseq.checkpoints.writers import convert
from spin_fairseq.data.device_views import complete_views
from tests.gpu.conftest import counted_waits

ROUNDING = {"float32": 1e-3, "fp16": 0.01, "amp": 0.01, "bf16": 0.05}  # of a loss
LEARNING = ["optimization.lr=[0.0005]", "lr_scheduler.total_num_update=1000", "task.perturbation=none"]
WAITS_FOR_A_NORM = 8  # what fairseq asks about the gradient's norm before it takes a step: each a few microseconds


def losses(trainer, samples):
    """Loss of each update; None where gradients overflow, and the scale is halved."""
    with metrics.aggregate("train", new_root=True):
        found = [trainer.train_step(sample) for sample in samples]
    return [None if log is None else float(log["loss"]) for log in found]


def trained_weights(trainer):
    return {
        name: weight.detach().float().cpu() for name, weight in trainer.model.named_parameters() if weight.requires_grad
    }


@pytest.mark.parametrize("kind", ["hubert", "wavlm"])
def test_the_loss_starts_as_in_float32_and_falls(kind, device, precision, trainer_of):
    trainer = trainer_of(device, precision, *LEARNING, kind=kind)
    sample = next(iter(batches(trainer)))
    found = [loss for loss in losses(trainer, [sample] * 12) if loss is not None]
    expected = trainer_of("cpu", "float32", *LEARNING, kind=kind, size=device)
    (first,) = losses(expected, [next(iter(batches(expected)))])
    assert found[0] == pytest.approx(first, rel=ROUNDING[precision])
    assert len(found) >= 8 and found[-1] < found[0] - 0.05


def test_a_resumed_run_is_the_one_that_was_stopped(device, precision, trainer_of, tmp_path):
    """With the float32 weights, the optimiser's state and the scale; half-precision weights alone lead elsewhere."""
    whole = trainer_of(device, precision, *LEARNING)
    samples = [sample for sample, _ in zip(list(batches(whole)) * 3, range(6))]
    losses(whole, samples[:3])
    whole.consolidate_optimizer()
    iterator = {"epoch": 1, "version": 2, "iterations_in_epoch": 3, "shuffle": False}
    whole.save_checkpoint(str(tmp_path / "checkpoint_last.pt"), {"train_iterator": iterator})
    losses(whole, samples[3:])

    resumed = trainer_of(device, precision, *LEARNING)
    resumed.load_checkpoint(str(tmp_path / "checkpoint_last.pt"))
    assert resumed.get_num_updates() == whole.get_num_updates() - 3
    list(batches(resumed))  # its task reads the split
    losses(resumed, samples[3:])
    expected, found = trained_weights(whole), trained_weights(resumed)
    for name, weight in expected.items():
        if device == "cpu":
            assert torch.equal(found[name], weight), name
        else:  # a GPU adds in an order of its own
            torch.testing.assert_close(found[name], weight, rtol=2e-2, atol=1e-4, msg=name)


@pytest.mark.parametrize("kind", ["hubert", "wavlm"])
def test_nothing_waits_between_the_batch_and_the_gradient(kind, device, precision, trainer_of):
    """Views made on the device, forward and backward."""
    trainer = trainer_of(device, precision, "task.perturb_on=device", *LEARNING[:2], kind=kind)
    first, second = list(batches(trainer))[:2]
    losses(trainer, [first])  # kernels are chosen, and memory is taken, at first
    sample, _ = trainer._prepare_sample(second[0])
    trainer.zero_grad()
    with counted_waits(device, "error"):
        trainer.task.train_step(sample, trainer.model, trainer.criterion, trainer.optimizer, 1)
    assert any(weight.grad is not None and weight.grad.any() for weight in trainer.model.parameters())


def test_an_update_waits_for_the_norm_alone(device, precision, trainer_of):
    """Logging asked for four numbers after each step of the optimiser."""
    trainer = trainer_of(device, precision, "task.perturb_on=device", *LEARNING[:2])
    samples = list(batches(trainer))[:3]
    with metrics.aggregate("train", new_root=True):
        trainer.train_step(samples[0])
        with counted_waits(device) as waits:
            trainer.train_step(samples[1])
    assert len(waits) <= WAITS_FOR_A_NORM, [str(wait.message) for wait in waits]


def test_views_made_on_the_device_are_those_of_a_worker(device, trainer_of):
    def sources(place):
        trainer = trainer_of(device, "float32", f"task.perturb_on={place}", "task.perturb_both_views=true")
        return [complete_views(trainer._prepare_sample(samples[0])[0], 16000) for samples in batches(trainer)]

    for worker, own in zip(sources("worker"), sources("device")):
        assert own["net_input"]["source"].device.type == device
        torch.testing.assert_close(own["net_input"]["source"], worker["net_input"]["source"], rtol=0, atol=1e-4)


def test_head_and_prototypes_start_on_the_device(device, trainer_of):
    head = trainer_of(device, "float32", "model.codebook_init=kmeans").model.head
    expected = trainer_of("cpu", "float32", "model.codebook_init=kmeans", size=device).model.head
    assert head.prototypes[0].device.type == device
    for name, weight in expected.projection.state_dict().items():
        found = head.projection.state_dict()[name].cpu()
        signs = (found * weight).sum(-1, keepdim=True).sign()  # an eigenvector has either
        torch.testing.assert_close((found * signs).abs(), (weight).abs(), rtol=1e-2, atol=1e-3)
    assert (head.prototypes[0].detach().norm(dim=1) - 1).abs().max() < 1e-5


def test_what_was_trained_there_is_exported(device, precision, trainer_of, tmp_path):
    trainer = trainer_of(device, precision, *LEARNING)
    losses(trainer, list(batches(trainer))[:2])
    trainer.consolidate_optimizer()
    path = str(tmp_path / "checkpoint_last.pt")
    trainer.save_checkpoint(path, {"train_iterator": {"epoch": 1}})
    wave = torch.randn(2, 16000, generator=torch.Generator().manual_seed(0))
    spin = load_spin(path).eval()
    for name, weight in trainer.model.state_dict().items():
        assert torch.equal(spin.state_dict()[name], weight.float().cpu()), name
    with torch.no_grad():
        features = spin.extract_features(wave)[0]
        for form, load in (("hubert", load_encoder), ("spin", load_spin)):
            convert(path, str(tmp_path / form), form)
            torch.testing.assert_close(load(str(tmp_path / form)).eval().extract_features(wave)[0], features)
