"""R-Spin: acoustic pieces in task, model and criterion, and a whole run by its configuration."""

import re

import numpy as np
import pytest
import torch
from fairseq.logging import metrics
from omegaconf import OmegaConf

from spin_fairseq.checkpoints import load_encoder, load_spin
from spin_fairseq.checkpoints.inspection import inspect_checkpoint
from spin_fairseq.errors import ConfigError, PiecesError
from spin_fairseq.models.spin import SpinConfig
from spin_fairseq.modules.pieces_loss import IGNORE, pieces_loss
from spin_fairseq.speech.audio import read_utterance
from spin_fairseq.tasks.collapse import CollapseWatch
from tests.commands.running import spin_fairseq
from tests.fairseq_runs import assert_same_weights, hydra_command, run, weights
from tests.small_hubert import NO_DROPOUT
from tests.small_pieces import FRAME_SAMPLES, make_pieces
from tests.small_wavlm import save_microsoft_wavlm
from tests.small_task import batch_of, recipe_criterion, small_task
from tests.spin_checkpoints import save_spin

pytest.importorskip("tokenizers", reason="comes with the extra pieces")


@pytest.fixture(scope="module")
def pieces(speech_folder, tmp_path_factory):
    return make_pieces(speech_folder.data, tmp_path_factory.mktemp("pieces"))


@pytest.fixture
def task(speech_folder, pieces):
    return small_task(speech_folder, pieces=str(pieces), max_sample_size=16000)


@pytest.fixture
def model(task, make_hubert):
    return built(task, make_hubert(**NO_DROPOUT))


def built(task, checkpoint, **options):
    """A model as fairseq's training asks the task for it, all layers trained; and the task's data."""
    defaults = {"freeze": [], "head_dims": [16], "codebook_sizes": [12]}
    cfg = SpinConfig(checkpoint=str(checkpoint), **{**defaults, **options})
    cfg._name = "spin"  # as fairseq fills it in
    model = task.build_model(OmegaConf.structured(cfg))
    for split in ("train", "dev"):
        task.load_dataset(split)
    return model.train()


# --- targets --------------------------------------------------------------------------------------------------------


def test_a_crop_has_the_targets_of_its_frames(task, model):
    """Guards against targets that are half a frame or a crop away from the features."""
    dataset = task.dataset("train")
    starts = set()
    for epoch in range(1, 6):
        dataset.set_epoch(epoch)
        for index in range(len(dataset)):
            item, wave = dataset[index], read_utterance(dataset.manifest, index)
            view = item["views"][0]
            (start,) = [
                s
                for s in range(0, len(wave) - len(view) + 1, FRAME_SAMPLES)
                if np.array_equal(wave[s : s + len(view)], view)
            ]
            whole = dataset.pieces.targets(dataset._piece_rows[index], 0, 10_000)
            frames = model.encoder.output_lengths(len(view))
            first = start // FRAME_SAMPLES
            assert item["pieces"][:frames].tolist() == whole[first : first + frames].tolist()
            assert len(item["pieces"]) >= frames or first + len(item["pieces"]) == len(whole)
            starts.add(start)
    assert len(starts) > 10


def test_missing_pieces_stop_a_training_before_it_starts(speech_folder, make_hubert, tmp_path):
    few = make_pieces(speech_folder.data, tmp_path, keep=slice(0, 2))
    with pytest.raises(PiecesError, match="no pieces for 10 of the 12 utterances"):
        built(small_task(speech_folder, pieces=str(few)), make_hubert(**NO_DROPOUT))
    with pytest.raises(PiecesError, match="pieces.json: no such file"):
        built(small_task(speech_folder, pieces=str(tmp_path)), make_hubert(**NO_DROPOUT))


def test_validation_without_pieces_has_no_auxiliary_loss(speech_folder, make_hubert, tmp_path):
    task = small_task(speech_folder, pieces=str(make_pieces(speech_folder.data, tmp_path, splits=("train",))))
    model = built(task, make_hubert(**NO_DROPOUT))
    _, _, log = recipe_criterion(task).eval()(model, batch_of(task, "dev", [0, 1]))
    assert "pieces_loss" not in log


# --- loss -----------------------------------------------------------------------------------------------------------


def test_the_auxiliary_loss_is_added_with_its_weight(task, model):
    sample = batch_of(task, "train", [0, 3, 5])
    assert sample["pieces"].shape[0] == 3
    plain, frames, _ = recipe_criterion(task, pieces_weight=0.0)(model, sample)
    loss, _, log = recipe_criterion(task, pieces_weight=3.0)(model, sample)
    output = model(**sample["net_input"])
    of_pieces, right, counted = pieces_loss(output["pieces"], sample["pieces"], output["valid"])
    assert counted.item() == frames and output["pieces"].size(-1) == task.dataset("train").pieces.classes
    assert loss.item() == pytest.approx((plain + 3 * of_pieces).item(), rel=1e-5)
    with metrics.aggregate() as logged:
        recipe_criterion(task).reduce_metrics([log, {**log, "pieces_frames": log["pieces_frames"]}])
    assert float(logged["pieces_loss"].avg) == pytest.approx((of_pieces / frames).item(), abs=1e-3)
    assert float(logged["pieces_accuracy"].avg) == pytest.approx((right / frames).item(), abs=1e-3)


@pytest.mark.parametrize("kind", ["hubert", "wavlm"])
def test_all_layers_are_trained_by_it(task, make_hubert, kind, tmp_path):
    """Guards against convolutions, positions or a WavLM's shared bias that stay as they were."""
    base = make_hubert(**NO_DROPOUT) if kind == "hubert" else save_microsoft_wavlm(tmp_path / "wavlm.pt")
    model = built(task, base)
    loss, _, _ = recipe_criterion(task)(model, batch_of(task, "train", [0, 1]))
    loss.backward()
    still = [name for name, weight in model.named_parameters() if weight.grad is None or not weight.grad.any()]
    assert set(still) <= {"encoder.mask_emb"}


def test_a_filler_has_no_part(task, model):
    sample = {**task.dataset("train").collater([]), "ignored": True}
    assert (sample["pieces"] == IGNORE).all()
    loss, frames, _ = recipe_criterion(task)(model, sample)
    assert frames == 0 and loss.item() == 0


def test_another_frame_rate_is_refused(speech_folder, make_hubert, pieces):
    task = small_task(speech_folder, pieces=str(pieces))
    task._frame_samples = 160
    with pytest.raises(ConfigError, match="its frames are 320 samples apart, those of this encoder 160"):
        task.load_dataset("train")


# --- a whole run ----------------------------------------------------------------------------------------------------


def trained_quickly(speech_folder, checkpoint, updates, **options):
    """All layers trained at a high rate on views with noise -> the perplexity of the prototypes in each update."""
    torch.manual_seed(0)
    task = small_task(speech_folder, noise="speech-shaped,babble", max_sample_size=16000, **options)
    model, criterion = built(task, checkpoint, codebook_sizes=[32]), recipe_criterion(task)
    optimizer = torch.optim.Adam(filter(lambda weight: weight.requires_grad, model.parameters()), lr=0.01)
    perplexities = []
    for epoch in range(1, updates + 1):
        task.dataset("train").set_epoch(epoch)
        loss, frames, log = criterion(model, batch_of(task, "train", range(12)))
        optimizer.zero_grad()
        (loss / frames).backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 10.0)
        optimizer.step()
        perplexities.append(log["code_ppl"] / frames)
    return perplexities


@pytest.mark.slow
def test_a_collapse_of_all_layers_is_warned_of(speech_folder, make_hubert, pieces, caplog):
    """Without the auxiliary loss one prototype is left, as the paper reports; with it the same training keeps them."""
    checkpoint = make_hubert(**NO_DROPOUT)
    without = trained_quickly(speech_folder, checkpoint, 16)
    watch = CollapseWatch(0.1, 8)
    for perplexity in without:
        watch.note("code_ppl", perplexity, 32)
    assert "collapse: code_ppl stayed at or under 1.0 for 8 updates" in caplog.text and "task.pieces" in caplog.text
    caplog.clear()
    for perplexity in trained_quickly(speech_folder, checkpoint, 16, pieces=str(pieces)):
        watch.note("code_ppl", perplexity, 32)
    assert "collapse" not in caplog.text and perplexity > 8


@pytest.mark.slow
def test_from_units_to_an_export(speech_folder, small_hubert, tmp_path):
    """Guards against a recipe whose parts do not fit: pieces of a model, a training that resumes, units and exports after it."""
    spin = save_spin(tmp_path / "spin.pt")
    manifests = [speech_folder.data / f"{split}.tsv" for split in ("train", "dev")]
    words = [*manifests, "--model", spin, "--out", tmp_path / "pieces", "--vocabulary", 80]
    assert spin_fairseq("pieces", *words) == 0

    def train(folder, *overrides):
        keys = (
            f"task.pieces={tmp_path / 'pieces'}", "model.freeze=[]", "model.codebook_sizes=[12]",
            "checkpoint.best_checkpoint_metric=loss", "checkpoint.maximize_best_checkpoint_metric=false", *overrides,
        )  # fmt: skip
        command = hydra_command(speech_folder, small_hubert, tmp_path / folder, *keys)
        return run(["rspin_hubert_base" if word == "spin_hubert_base" else word for word in command], tmp_path / folder)

    log = train("whole", "checkpoint.keep_interval_updates=-1")
    losses = [float(value) for value in re.findall(r"epoch 00\d:.*?pieces_loss=([\d.]+)", log)]
    assert losses[-1] < losses[0] and re.search(r"valid on 'dev' subset .*\| pieces_accuracy [\d.]+", log)
    checkpoints = tmp_path / "whole" / "checkpoints"
    (tmp_path / "resumed" / "checkpoints").mkdir(parents=True)
    (middle,) = checkpoints.glob("checkpoint_*_4.pt")
    (tmp_path / "resumed" / "checkpoints" / "checkpoint_last.pt").write_bytes(middle.read_bytes())
    assert "@ 4 updates" in train("resumed")
    last = checkpoints / "checkpoint_last.pt"
    trained = weights(last)
    assert_same_weights(trained, weights(tmp_path / "resumed" / "checkpoints" / "checkpoint_last.pt"))
    assert trained["pieces.weight"].size(1) == 64
    before = load_encoder(small_hubert).state_dict()
    same = [name for name, value in before.items() if torch.equal(value, trained["encoder." + name])]
    assert same == ["mask_emb"]

    model = load_spin(last)
    assert not [name for name in model.state_dict() if name.startswith("pieces")]
    assert "pieces" in str(inspect_checkpoint(last)["made"]["recipe"])
    assert spin_fairseq("units", last, manifests[1], "--out", tmp_path / "dev.km") == 0
    assert spin_fairseq("convert", last, "--to", "spin", "--out", tmp_path / "export.pt") == 0
    assert_same_weights(model.state_dict(), load_spin(tmp_path / "export.pt").state_dict())
    assert load_encoder(last).num_layers == 3
