"""examples/dcspin: phone targets for fairseq's CTC, and the fine-tuned encoder as a base of Spin."""

import importlib.util
from pathlib import Path

import pytest
import torch

from spin_fairseq.checkpoints import load_encoder
from spin_fairseq.errors import PhoneLabelError
from tests.fairseq_runs import HYDRA_TRAIN, run

EXAMPLES = Path(__file__).resolve().parents[2] / "examples" / "dcspin"


@pytest.fixture(scope="module")
def phone_targets():
    spec = importlib.util.spec_from_file_location("phone_targets", EXAMPLES / "phone_targets.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def targets(phone_targets, speech_folder, tmp_path_factory):
    """CTC data of dev, which has labels, under both names."""
    folder = tmp_path_factory.mktemp("ctc")
    phone_targets.main(
        ["--data", str(speech_folder.data), "--phones", str(speech_folder.phones), "--out", str(folder), "dev"]
    )
    for suffix in ("tsv", "phn"):
        (folder / f"train.{suffix}").write_text((folder / f"dev.{suffix}").read_text())
    return folder


def test_a_sequence_has_no_repeats_and_no_silence(phone_targets):
    """A phone that is said twice with a pause between is two; one that lasts is one."""
    labels = ["SIL", "AA", "AA", "T", "SIL", "T", "", "IY"]
    assert phone_targets.sequence(labels) == ["AA", "T", "T", "IY"]


def test_targets_are_the_phones_of_each_utterance(speech_folder, targets):
    root, *rows = (targets / "dev.tsv").read_text().splitlines()
    sequences = (targets / "dev.phn").read_text().splitlines()
    assert len(rows) == len(sequences) == 6
    symbols = {line.split()[0] for line in (targets / "dict.phn.txt").read_text().splitlines()}
    for row, sequence in zip(rows, sequences):
        path, samples = row.split("\t")
        assert (Path(root) / path).is_file() and int(samples) > 0
        phones = speech_folder.phones_of[Path(path).stem]
        expected = [p for i, p in enumerate(phones) if p != "SIL" and (i == 0 or phones[i - 1] != p)]
        # the last 0.2 s may be cut shorter, not away
        assert sequence.split() == expected and set(expected) <= symbols
    assert "SIL" not in symbols


def test_labels_of_other_files_are_named(phone_targets, speech_folder, tmp_path):
    (tmp_path / "dev.tsv").write_text("somebody-else\tAA,AA\n")
    with pytest.raises(PhoneLabelError, match="no phones for any utterance of .*dev.tsv"):
        phone_targets.write_split(speech_folder.data, tmp_path, "dev", ("SIL",), tmp_path)


@pytest.mark.slow
def test_the_fine_tuned_encoder_is_a_base(small_hubert, targets, tmp_path):
    """Guards against a model that this fairseq cannot build, and a checkpoint that `model.checkpoint` does not read."""
    run(
        HYDRA_TRAIN + [
            "--config-dir", EXAMPLES, "--config-name", "hubert_ctc", f"common.user_dir={EXAMPLES / 'hubert_ctc_phones'}",
            f"task.data={targets}", f"model.w2v_path={small_hubert}", f"hydra.run.dir={tmp_path}", "common.fp16=false",
            "common.cpu=true", "dataset.num_workers=0", "dataset.max_tokens=100000", "task.min_sample_size=800",
            "optimization.max_update=2", "optimization.lr=[0.01]", "model.freeze_finetune_updates=0",
            "lr_scheduler.warmup_steps=1", "lr_scheduler.hold_steps=1", "lr_scheduler.decay_steps=1", "model.layerdrop=0.0", "model.mask_channel_prob=0.0",
        ],
        tmp_path,
    )  # fmt: skip
    before, after = (
        load_encoder(path).state_dict() for path in (small_hubert, tmp_path / "checkpoints" / "checkpoint_last.pt")
    )
    assert before.keys() == after.keys()
    moved = {name.split(".")[0] for name in before if not torch.equal(before[name], after[name])}
    assert "encoder" in moved and "feature_extractor" not in moved
