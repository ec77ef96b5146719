"""What the dataset makes of utterances that cannot be read or changed."""

import numpy as np
import pytest
import soundfile

from spin_fairseq.speech.manifest import write_manifest
from spin_fairseq.errors import PerturbationError
from tests.small_dataset import make_dataset


@pytest.fixture
def damaged(tmp_path):
    """Utterances 1 and 3 of five are bad: one is missing, one has NaN."""
    rng = np.random.default_rng(0)
    rows = []
    for n in range(5):
        wave = (0.1 * rng.standard_normal(9000)).astype(np.float32)
        wave[10] = np.nan if n == 3 else wave[10]
        if n != 1:
            soundfile.write(tmp_path / f"5-1-{n}.wav", wave, 16000, subtype="FLOAT")
        rows.append((f"5-1-{n}.wav", 9000))
    write_manifest(tmp_path / "train.tsv", tmp_path, rows)
    return tmp_path


def test_a_batch_goes_on_without_its_bad_utterances(damaged):
    dataset = make_dataset(damaged)
    batch = dataset.collater([dataset[i] for i in range(5)])
    assert batch["id"].tolist() == [0, 2, 4] and len(batch["net_input"]["source"]) == 6
    (first, why_first), (second, why_second) = batch["skipped"]
    assert (first, second) == (1, 3) and not batch["ignored"]
    assert "5-1-1.wav: no such file" in why_first and "5-1-3.wav: has samples that are NaN" in why_second


def test_a_batch_of_bad_utterances_alone_is_a_filler_to_be_ignored(damaged):
    dataset = make_dataset(damaged, phones={})
    batch = dataset.collater([dataset[1], dataset[3]])
    assert batch["ignored"] is True and [index for index, _ in batch["skipped"]] == [1, 3]
    assert batch["id"].tolist() == [-1] and batch["phones"] == []
    source = batch["net_input"]["source"]
    assert len(source) == 2 and source.size(1) == batch["lengths"][0] and not source.any()


def test_a_failing_perturbation_is_a_bad_utterance_with_its_name(damaged):
    def fail(wave, sample_rate, pitch_range, draw):
        raise PerturbationError("Praat: gave up")

    dataset = make_dataset(damaged, backend=fail)
    assert dataset[0] == {"index": 0, "error": f"{damaged}/5-1-0.wav: Praat: gave up"}


def test_a_manifest_that_promises_too_many_samples(damaged):
    write_manifest(damaged / "train.tsv", damaged, [("5-1-0.wav", 9001)])
    assert "prepare it again" in make_dataset(damaged)[0]["error"]
