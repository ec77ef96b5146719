"""Training below the last layers with learning rates that fall from layer to layer, and two codebooks: steps and whole runs."""

import types

import pytest
import torch
from fairseq.distributed import ModuleProxyWrapper
from fairseq.optim.adam import FairseqAdam, FairseqAdamConfig

from spin_fairseq.checkpoints import load_spin
from spin_fairseq.errors import ConfigError
from tests.fairseq_runs import assert_same_weights, hydra_command, log_of, run, validated, weights
from tests.small_hubert import NO_DROPOUT
from tests.small_task import batch_of, recipe_criterion, small_model, small_task

RATE = 1e-3


def stepped(task, checkpoint, steps=1, **options):
    """A model after some steps of fairseq's Adam, and how far each weight went."""
    torch.manual_seed(1)
    model = small_model(checkpoint, freeze="", **options).train()
    before = {name: weight.detach().clone() for name, weight in model.named_parameters()}
    config = FairseqAdamConfig(lr=[RATE], adam_betas="(0.9,0.999)")
    optimizer = FairseqAdam(config, [weight for weight in model.parameters() if weight.requires_grad])
    criterion = recipe_criterion(task).train()
    for update in range(steps):
        task.train_step({**batch_of(task, "train", [0, 1]), "split": "train"}, model, criterion, optimizer, update)
        task.optimizer_step(optimizer, model, update)
        optimizer.zero_grad()
    return model, {name: (weight - before[name]).abs().max().item() for name, weight in model.named_parameters()}


@pytest.fixture
def task(speech_folder):
    task = small_task(speech_folder)
    task.load_dataset("train")
    return task


def test_lower_layers_take_smaller_steps(task, make_hubert):
    """Adam's first step is the learning rate itself for every weight that has a gradient."""
    _, moved = stepped(task, make_hubert(**NO_DROPOUT), layer_lr_decay=0.5)
    for name, factor in {
        "head.prototypes.0": 1, "head.projection.0.weight": 1, "encoder.encoder.layers.2.fc1.weight": 1,
        "encoder.encoder.layers.1.fc1.weight": 0.5, "encoder.encoder.layers.0.fc1.weight": 0.25,
        "encoder.post_extract_proj.weight": 0.125, "encoder.encoder.pos_conv.0.bias": 0.125,
    }.items():  # fmt: skip
        assert moved[name] == pytest.approx(RATE * factor, rel=0.02), name


def test_layers_below_a_lower_output_layer(task, make_hubert):
    """The layer that the head reads has the whole rate, whichever it is."""
    _, moved = stepped(task, make_hubert(**NO_DROPOUT), layer_lr_decay=0.5, output_layer=2)
    assert moved["encoder.encoder.layers.1.fc1.weight"] == pytest.approx(RATE, rel=0.02)
    assert moved["encoder.encoder.layers.0.fc1.weight"] == pytest.approx(RATE / 2, rel=0.02)


def test_without_decay_nothing_is_hooked(task, make_hubert, monkeypatch):
    """The default must be what it was, bit for bit."""
    monkeypatch.setattr("spin_fairseq.tasks.spin.scale_updates", lambda *_: pytest.fail("hooked"))
    checkpoint = make_hubert(**NO_DROPOUT)
    (first, moved), (second, _) = (stepped(task, checkpoint, steps=2, **keys) for keys in ({}, {"layer_lr_decay": 1.0}))
    assert_same_weights(first.state_dict(), second.state_dict())
    assert moved["encoder.encoder.layers.0.fc1.weight"] > RATE


def test_a_model_that_fairseq_wraps_for_ranks(task, make_hubert):
    """With several ranks the task is given a wrapper around the model."""
    wrapped = torch.nn.Module()
    wrapped.module = small_model(make_hubert(), freeze="", layer_lr_decay=0.5)
    trained = [weight for weight in wrapped.parameters() if weight.requires_grad]
    optimizer = FairseqAdam(FairseqAdamConfig(lr=[RATE], adam_betas="(0.9,0.999)"), trained)
    lowest, head = wrapped.module.encoder.encoder.layers[0].fc1.weight, wrapped.module.head.prototypes[0]
    before = lowest.detach().clone(), head.detach().clone()
    for weight in trained:
        weight.grad = torch.ones_like(weight)
    task.optimizer_step(optimizer, ModuleProxyWrapper(wrapped), 0)
    assert (lowest - before[0]).abs().max().item() == pytest.approx(RATE / 4, rel=0.01)
    assert (head - before[1]).abs().max().item() == pytest.approx(RATE, rel=0.01)


@pytest.mark.parametrize("decay", [0.0, -0.5, 1.5, float("nan")])
def test_a_decay_out_of_range(make_hubert, decay):
    with pytest.raises(ConfigError, match="model.layer_lr_decay is .*: it must be above 0 and at most 1"):
        small_model(make_hubert(), layer_lr_decay=decay)


def test_an_optimiser_of_several_is_refused(task, make_hubert):
    """fairseq's "composite" has no weights of its own: its parts would go on unscaled."""
    optimizer = types.SimpleNamespace(optimizer=object())
    with pytest.raises(ConfigError, match="choose optimizer._name=adam"):
        task.optimizer_step(optimizer, small_model(make_hubert(), layer_lr_decay=0.5), 0)


@pytest.mark.slow
def test_two_codebooks_and_a_decay_resume_and_export(speech_folder, small_hubert, tmp_path):
    """Guards against learning rates of layers that are forgotten on resuming, and losses that are weighted otherwise."""
    keys = [
        "model.codebook_sizes=[20,40]", "criterion.codebook_weights=[1,0.5]", "model.layer_lr_decay=0.5", "model.freeze=[cnn,pos]",
    ]  # fmt: skip
    for folder, updates in (("whole", [6]), ("parts", [3, 6])):
        for last in updates:
            command = hydra_command(
                speech_folder, small_hubert, tmp_path / folder, *keys, f"optimization.max_update={last}"
            )
            run(command, tmp_path / folder)
    found = [tmp_path / folder / "checkpoints" / "checkpoint_last.pt" for folder in ("whole", "parts")]
    assert_same_weights(*map(weights, found))
    log = log_of(tmp_path / "parts")
    assert "Loaded checkpoint" in log and len(validated(log, "codebook_loss_1")) == len(validated(log, "pnmi"))
    total, primary, auxiliary = (validated(log, name)[-1] for name in ("loss", "codebook_loss", "codebook_loss_1"))
    assert total == pytest.approx(primary + 0.5 * auxiliary, abs=2e-3)
    model = load_spin(found[0])
    assert [len(prototypes) for prototypes in model.head.prototypes] == [20, 40]
    assert model.extract_units(torch.randn(1, 16000), codebook=1).max() < 40
