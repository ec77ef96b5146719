"""The perturbation of whole batches: the same waves as one by one, and nothing that waits for a GPU."""

import numpy as np
import pytest
import torch

from spin_fairseq.data.device_views import complete_views, pending_views
from measuring.tensor_memory import TensorMemory
from spin_fairseq.perturbation import (
    build_backend,
    change_speaker,
    draw_speaker,
    equalize,
    find_pitch_marks,
    pitch,
    waves,
)
from spin_fairseq.perturbation.backends import perturb
from tests.fake_cuda import fake_cuda
from tests.synthetic_speech import synthetic_voice


@pytest.fixture
def as_on_a_device(monkeypatch):
    """Tensors on the CPU go the way of those on a GPU: batched, by torch alone."""
    monkeypatch.setattr(waves.Waves, "on_host", False)


def voices():
    rng = np.random.default_rng(0)
    phones = ["AA", "SIL", "EH", "IY", "UW"]
    return [synthetic_voice(f0, list(rng.permutation(phones))[:count]) for f0, count in ((110, 5), (190, 4), (260, 2))]


def sample_of(utterances, draws, marks):
    batch = torch.nn.utils.rnn.pad_sequence([torch.from_numpy(wave) for wave in utterances], batch_first=True)
    ends = torch.tensor([len(wave) for wave in utterances] * 2)
    mask = torch.arange(batch.size(1)) >= ends[:, None]
    return {
        "net_input": {"source": batch, "padding_mask": mask},
        "pending": pending_views(draws, marks, ends[: len(utterances)].tolist()),
    }


@pytest.mark.parametrize("seed", range(4))
def test_a_device_gives_what_a_worker_gives(seed, as_on_a_device, monkeypatch):
    rng, utterances = np.random.default_rng(seed), voices()
    draws = [(draw_speaker(rng), draw_speaker(rng)) for _ in utterances]
    with monkeypatch.context() as patch:
        patch.setattr(waves.Waves, "on_host", True)
        marks = [find_pitch_marks(wave, 16000) for wave in utterances]
        native = build_backend("native")
        expected = [
            [perturb(native, wave, 16000, None, own[view], mark) for wave, own, mark in zip(utterances, draws, marks)]
            for view in (0, 1)
        ]
    completed = complete_views(sample_of(utterances, draws, marks), 16000)["net_input"]["source"]
    assert completed.shape[0] == 6
    for row, wave in enumerate(expected[0] + expected[1]):
        np.testing.assert_allclose(completed[row, : len(wave)].numpy(), wave, atol=1e-4)
        assert not completed[row, len(wave) :].any()


def test_one_changed_view_follows_the_waves_as_they_are():
    utterances, rng = voices(), np.random.default_rng(0)
    draws, marks = [(draw_speaker(rng),) for _ in utterances], [find_pitch_marks(wave, 16000) for wave in utterances]
    sample = sample_of(utterances, draws, marks)
    completed = complete_views(sample, 16000)
    assert torch.equal(completed["net_input"]["source"][:3], sample["net_input"]["source"])
    assert sample["net_input"]["source"].shape[0] == 3 and complete_views({"id": 1}, 16000) == {"id": 1}
    expected = perturb(build_backend("native"), utterances[0], 16000, None, draws[0][0], marks[0])
    np.testing.assert_allclose(completed["net_input"]["source"][3, : len(utterances[0])], expected, atol=1e-6)


def contour_by_torch(r, frames, pitch_floor, pitch_ceiling):
    found = pitch.candidates(r, pitch.LAGS_PER_SAMPLE * frames.rate, pitch_floor, pitch_ceiling)
    return pitch.best_path(*found, frames.intensity, pitch_ceiling)


@pytest.mark.parametrize("limits", [{}, {"pitch_floor": [75, 100, 120], "pitch_ceiling": [300, 400, 500]}])
def test_marks_found_on_a_device_are_those_found_on_the_cpu(limits, monkeypatch):
    """But for a few at the ends of stretches: all rows have the windows of the lowest floor there."""
    utterances = voices()
    batch = torch.nn.utils.rnn.pad_sequence([torch.from_numpy(wave) for wave in utterances], batch_first=True)
    expected = [
        find_pitch_marks(wave, 16000, **{name: values[row] for name, values in limits.items()}).times
        for row, wave in enumerate(utterances)
    ]
    monkeypatch.setattr(waves.Waves, "on_host", False)
    monkeypatch.setattr(pitch, "contour_in_range", contour_by_torch)
    found = find_pitch_marks(batch, 16000, lengths=[len(wave) for wave in utterances], **limits)
    for row, times in enumerate(expected):
        own = found.times[row][found.times[row] < torch.inf]
        assert abs(len(own) - len(times)) <= 2
        near = (own[:, None] - times).abs().amin(1)
        assert (near < 2).float().mean() > 0.97


def test_nothing_waits_for_a_gpu():
    """Every step of it on a CUDA device that is not there: values cannot be asked for, nor shapes depend on them."""
    rng = np.random.default_rng(0)
    draws = [(draw_speaker(rng),) for _ in range(3)]
    with fake_cuda():
        source = torch.zeros(3, 24000, device="cuda")
        mask = torch.zeros(6, 24000, dtype=torch.bool, device="cuda")
        marks = [find_pitch_marks(np.zeros(0, np.float32), 16000) for _ in draws]
        pending = pending_views(draws, marks, [24000, 20000, 23000])
        pending["lengths"] = torch.zeros(3, dtype=torch.int64, device="cuda")
        times = torch.zeros(3, 120, dtype=torch.float64, device="cuda")
        pending["marks"] = times, torch.zeros(3, 120, dtype=torch.bool, device="cuda")
        sample = {"net_input": {"source": source, "padding_mask": mask}, "pending": pending}
        completed = complete_views(sample, 16000)["net_input"]["source"]
        assert completed.shape == (6, 24000) and completed.device.type == "cuda"
        for limits in ({}, {"pitch_floor": 75.0, "pitch_ceiling": 300.0}):
            found = find_pitch_marks(source, 16000, **limits)
            assert found.times.device.type == "cuda" and found.times.shape == found.joined.shape
            changed = change_speaker(source, 16000, **limits, formant_ratio=1.2)
            assert changed.device.type == "cuda" and changed.shape == source.shape
        assert equalize(source, 16000, gains_db=np.zeros(10), q=np.ones(10)).device.type == "cuda"


def test_the_fake_device_would_tell():
    with fake_cuda():
        on_device = torch.zeros(3, device="cuda")
        for wait in (lambda: on_device.sum().item(), lambda: on_device.nonzero(), lambda: on_device + torch.zeros(3)):
            with pytest.raises((RuntimeError, AssertionError)):
                wait()


@pytest.mark.parametrize("formant_ratio", [1 / 1.4, 1.4])
def test_memory(formant_ratio, as_on_a_device):
    """At most forty times the batch."""
    utterances = [wave[:12000] for wave in voices()]
    batch = torch.stack([torch.from_numpy(np.resize(wave, 48000)) for wave in utterances])
    with TensorMemory() as memory:
        marks = find_pitch_marks(batch, 16000, pitch_floor=75, pitch_ceiling=400)
        changed = change_speaker(batch, 16000, marks=marks, formant_ratio=formant_ratio, pitch_ratio=2.0)
        equalize(changed, 16000, gains_db=np.full(10, 6.0), q=np.full(10, 3.0))
    assert batch.nbytes < memory.peak < 40 * batch.nbytes
