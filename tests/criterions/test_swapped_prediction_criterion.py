import contextlib

import pytest
import torch
from fairseq.logging import metrics
from torch.utils._python_dispatch import TorchDispatchMode

from spin_fairseq.criterions import swapped_prediction
from spin_fairseq.encoders import Mode
from spin_fairseq.errors import ConfigError
from spin_fairseq.modules.swapped_prediction import swapped_prediction_loss
from tests.oracles.swapped_prediction_oracle import swapped_prediction_oracle
from tests.small_hubert import LARGE_FORM, NO_DROPOUT
from tests.small_task import batch_of, recipe_criterion, small_model, small_task

RECIPE = {"epsilon": 0.02, "iterations": 3, "temperature": 0.1}


@pytest.fixture
def task(speech_folder):
    task = small_task(speech_folder)
    task.load_dataset("train")
    task.load_dataset("dev")
    return task


@pytest.fixture
def model(make_hubert):
    return small_model(make_hubert(**NO_DROPOUT)).train()


def frames_of(model, sample):
    return sum(model.encoder.output_lengths(length) for length in sample["lengths"])


# --- loss and logs ----------------------------------------------------------------------------------------------


def test_loss_and_logs_of_a_padded_batch(task, model):
    sample = batch_of(task, "train", [0, 3, 5])
    assert len(set(sample["lengths"])) == 3
    loss, frames, log = recipe_criterion(task)(model, sample)
    assert frames == frames_of(model, sample) and isinstance(frames, int)

    # Each utterance alone, without padding: views are alike, since nothing is perturbed.
    scores = []
    for row, length in enumerate(sample["lengths"]):
        scores += model.extract_scores(sample["net_input"]["source"][row : row + 1, :length])[0].tolist()
    assert len(scores) == frames
    expected = swapped_prediction_oracle(scores, scores, **RECIPE)
    found = [value.item() / frames for value in (loss, log["accuracy"], log["code_ppl"], log["prob_ppl"])]
    assert found == pytest.approx(expected, rel=1e-3)
    assert log["loss"].item() == loss.item() and not log["loss"].requires_grad
    assert (log["ntokens"], log["nsentences"], log["sample_size"]) == (frames, 3, frames)


def test_ranks_assign_in_fairseqs_group(task, model, monkeypatch):
    """It was the world's, which fairseq avoids since it hangs under NCCL."""
    seen = []

    def loss(*args, group, **options):
        seen.append(group)
        return swapped_prediction_loss(*args, **options)

    monkeypatch.setattr(swapped_prediction, "get_data_parallel_group", lambda: "fairseq's")
    monkeypatch.setattr(swapped_prediction, "swapped_prediction_loss", loss)
    recipe_criterion(task)(model, batch_of(task, "train", [0, 1]))
    assert seen == ["fairseq's"]


def test_options_reach_the_loss(task, model):
    sample = batch_of(task, "train", [0, 1])
    plain = recipe_criterion(task)(model, sample)[0]
    for options in ({"epsilon": 0.5}, {"sinkhorn_iterations": 1}, {"temperature": 0.5}, {"hard_targets": True}):
        assert recipe_criterion(task, **options)(model, sample)[0].item() != pytest.approx(plain.item(), rel=1e-6)
    sample["net_input"]["source"][2:] *= torch.linspace(0.5, 1.5, sample["net_input"]["source"].size(1))
    mixed = [recipe_criterion(task, target_mix=mix)(model, sample)[0].item() for mix in (0.0, 1.0)]
    assert mixed[0] != pytest.approx(mixed[1], rel=1e-6)


def test_two_codebooks_add_up(task, make_hubert):
    model = small_model(make_hubert(**NO_DROPOUT), codebook_sizes=[12, 30])
    sample = batch_of(task, "train", [0, 1])
    loss, frames, log = recipe_criterion(task)(model, sample)
    net_output = model(**sample["net_input"])
    valid = net_output["valid"][:2].flatten()
    results = [
        swapped_prediction_loss(s[:2].flatten(0, 1), s[2:].flatten(0, 1), valid=valid, **RECIPE)
        for s in net_output["scores"]
    ]
    assert loss.item() == pytest.approx(sum(r.loss.item() for r in results) * frames, rel=1e-5)
    assert log["code_ppl"].item() / frames == pytest.approx(results[0].code_perplexity.item(), rel=1e-5)
    assert log["code_ppl_1"].item() / frames == pytest.approx(results[1].code_perplexity.item(), rel=1e-5)


def test_codebooks_weigh_as_told(task, make_hubert):
    """DC-Spin: the weights are those of the sum, gradients follow them, and equal weights are what no weights are."""
    model = small_model(make_hubert(**NO_DROPOUT), codebook_sizes=[12, 7]).train()
    sample = batch_of(task, "train", [0, 1])
    plain, _, log = recipe_criterion(task)(model, sample)
    primary, auxiliary = log["codebook_loss"], log["codebook_loss_1"]
    assert plain.item() == pytest.approx((primary + auxiliary).item(), rel=1e-6)
    assert recipe_criterion(task, codebook_weights=[1, 1])(model, sample)[0].item() == plain.item()
    weighted = recipe_criterion(task, codebook_weights="0.5,2")(model, sample)[0]
    assert weighted.item() == pytest.approx((0.5 * primary + 2 * auxiliary).item(), rel=1e-6)
    recipe_criterion(task, codebook_weights=[0, 1])(model, sample)[0].backward()
    assert not model.head.prototypes[0].grad.any() and model.head.prototypes[1].grad.any()


def test_one_codebook_logs_no_loss_of_its_own(task, model):
    """Its name in a log would be another than the loss's, for the same number."""
    assert "codebook_loss" not in recipe_criterion(task)(model, batch_of(task, "train", [0, 1]))[2]


@pytest.mark.parametrize("weights", [[1], [1, 1, 1]])
def test_as_many_weights_as_codebooks(task, make_hubert, weights):
    model = small_model(make_hubert(), codebook_sizes=[12, 7])
    with pytest.raises(ConfigError, match=rf"codebook_weights has {len(weights)} numbers, model.codebook_sizes has 2"):
        recipe_criterion(task, codebook_weights=weights)(model, batch_of(task, "train", [0, 1]))


@pytest.mark.parametrize("weights", [[0, 0], [-1, 1], "a,b", [float("inf"), 1], [float("nan"), 1]], ids=str)
def test_weights_out_of_range(task, weights):
    with pytest.raises(ConfigError, match="criterion.codebook_weights is .*: it must be numbers of at least 0"):
        recipe_criterion(task, codebook_weights=weights)


def test_an_auxiliary_codebook_leaves_validation_to_the_primary(task, make_hubert):
    """PNMI chooses checkpoints: it must be that of the units, whatever codebooks are trained beside."""
    model = small_model(make_hubert(**NO_DROPOUT), codebook_sizes=[12, 40]).eval()
    sample = batch_of(task, "dev", [0, 1, 2])
    with torch.no_grad():
        log = recipe_criterion(task).eval()(model, sample)[2]
        both = torch.cat(
            [
                model.extract_units(sample["net_input"]["source"][row : row + 1, :length])[0]
                for row, length in enumerate(sample["lengths"])
            ]
        )
    index, counts = log["pairs"]
    assert log["units"] == 12 and counts.sum() > 0
    assert set((index % 12).tolist()) <= set(both.tolist())


def test_an_ignored_batch_moves_nothing(task, model):
    sample = {**batch_of(task, "train", [0, 1]), "ignored": True}
    loss, frames, log = recipe_criterion(task)(model, sample)
    loss.backward()
    assert frames == 0 and loss.item() == 0 and log["sample_size"] == 0
    for name, parameter in model.named_parameters():
        assert parameter.grad is None or not parameter.grad.any(), name


@pytest.mark.parametrize("form", [{}, {**LARGE_FORM, "normalize": True}], ids=["base", "large"])
def test_a_filler_of_silence_has_finite_results(task, make_hubert, form):
    sample = task.dataset("train").collater([{"index": 0, "error": "a.flac: is empty"}])
    loss, frames, log = recipe_criterion(task)(small_model(make_hubert(**form)).train(), sample)
    loss.backward()
    assert (frames, loss.item()) == (0, 0.0) and torch.isfinite(log["prob_ppl"])


def test_metrics_are_means_over_the_frames_of_all_ranks(task):
    logs = [
        {"sample_size": 10, "loss": torch.tensor(20.0), "accuracy": torch.tensor(5.0), "code_ppl": torch.tensor(80.0)},
        {"sample_size": 30, "loss": torch.tensor(20.0), "accuracy": torch.tensor(9.0), "code_ppl": torch.tensor(60.0)},
    ]
    with metrics.aggregate(new_root=True) as aggregator:
        recipe_criterion(task).reduce_metrics(logs)
    values = aggregator.get_smoothed_values()
    assert values == {"loss": 1.0, "accuracy": 0.35, "code_ppl": 3.5}


def test_nothing_is_logged_without_frames(task):
    with metrics.aggregate(new_root=True) as aggregator:
        recipe_criterion(task).reduce_metrics([{"sample_size": 0, "loss": torch.tensor(0.0)}])
    assert not aggregator.get_smoothed_values()


@pytest.mark.parametrize(
    "key, value, must",
    [
        ("epsilon", 0.0, "above 0"),
        ("epsilon", -1.0, "above 0"),
        ("temperature", 0.0, "above 0"),
        ("sinkhorn_iterations", 0, "at least 1"),
        ("target_mix", 1.5, "between 0 and 1"),
        ("target_mix", -0.1, "between 0 and 1"),
    ],
)
def test_values_out_of_range(task, key, value, must):
    with pytest.raises(ConfigError, match=f"criterion.{key} is {value}: it must be {must}"):
        recipe_criterion(task, **{key: value})


# --- nothing waits for the device ---------------------------------------------------------------------------------


class Waiting(TorchDispatchMode):
    """Notes operations whose result, or its shape, the CPU must know: on a GPU it would have to wait for them."""

    operations = ("_local_scalar_dense", "nonzero", "equal", "masked_select", "unique", "is_nonzero", "bincount")

    def __init__(self):
        super().__init__()
        self.found = []

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        name = function.__name__.split(".")[0]
        by_mask = name in ("index", "index_put_") and any(
            torch.is_tensor(index) and index.dtype in (torch.bool, torch.uint8) for index in args[1]
        )
        if name.strip("_") in [operation.strip("_") for operation in self.operations] or by_mask:
            self.found.append(name)
        return function(*args, **(kwargs or {}))


class Backward:
    """The part of an optimiser that a training step of fairseq's tasks uses."""

    @staticmethod
    def backward(loss):
        loss.backward()


@pytest.mark.parametrize("form", [{}, {**LARGE_FORM, "normalize": True}], ids=["base", "large"])
def test_nothing_in_a_training_step_waits_for_the_device(task, make_hubert, form, monkeypatch):
    model = small_model(make_hubert(**form), codebook_sizes=[12, 30]).train()
    criterion = recipe_criterion(task).train()
    sample = batch_of(task, "train", [0, 3, 5])
    sample["net_input"]["mode"] = Mode(packed=False)  # as on a GPU
    with Waiting() as waiting, metrics.aggregate(new_root=True):
        for name in ("cpu", "numpy", "tolist"):
            monkeypatch.setattr(torch.Tensor, name, lambda *_, name=name: waiting.found.append(name))
        loss, frames, log = task.train_step(sample, model, criterion, Backward, update_num=0)
        task.reduce_metrics([log], criterion)
        monkeypatch.undo()
    assert waiting.found == []
    assert model.head.prototypes[0].grad.any()
    assert criterion.logging_outputs_can_be_summed() and all(
        isinstance(value, int) or value.dim() == 0 for value in log.values()
    )


@pytest.mark.parametrize("form", [{}, {**LARGE_FORM, "normalize": True}], ids=["base", "large"])
def test_everything_is_made_on_the_device_of_the_batch(task, make_hubert, form, monkeypatch):
    """On the "meta" device, which does not mix with the CPU, and has no values to wait for either."""
    monkeypatch.setattr(torch, "autocast", lambda *_, **__: contextlib.nullcontext())  # it does not know this device
    model = small_model(make_hubert(**form), freeze="cnn,pos").train().to("meta")
    sample = batch_of(task, "train", [0, 3, 5])
    sample["net_input"] = {name: tensor.to("meta") for name, tensor in sample["net_input"].items()}
    loss, _, log = recipe_criterion(task).train()(model, sample)
    loss.backward()
    on_device = [log["loss"], log["accuracy"], log["code_ppl"], log["prob_ppl"], model.head.prototypes[0].grad]
    assert all(tensor.is_meta for tensor in on_device)


@pytest.mark.parametrize(
    "wait",
    [lambda x: x.sum().item(), lambda x: x[x > 0], lambda x: bool(x.any()), lambda x: x.nonzero(), lambda x: int(x[0])],
)
def test_waiting_would_be_noticed(wait):
    with Waiting() as waiting:
        wait(torch.arange(3.0))
    assert waiting.found
