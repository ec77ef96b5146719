import numpy as np
import pytest
import torch

from spin_fairseq.evaluation.features.mfcc import mfcc, output_lengths

SAMPLES = (400, 719, 720, 4321, 16001)


def wave_of(samples):
    return 0.1 * np.random.default_rng(samples).standard_normal(samples).astype(np.float32)


@pytest.mark.parametrize("samples", SAMPLES)
def test_the_same_as_librosa(samples):
    librosa = pytest.importorskip("librosa")
    wave = wave_of(samples)
    mel = librosa.feature.melspectrogram(y=wave, sr=16000, n_fft=400, hop_length=160, n_mels=40, center=False)
    coefficients = librosa.feature.mfcc(S=librosa.power_to_db(mel, top_db=None), n_mfcc=13)
    deltas = [librosa.feature.delta(coefficients, order=order, mode="nearest") for order in (1, 2)]
    wanted = np.concatenate([coefficients, *deltas]).T[::2]
    np.testing.assert_allclose(mfcc(torch.from_numpy(wave)).numpy(), wanted, atol=1e-3)


@pytest.mark.parametrize("samples", SAMPLES)
def test_as_many_frames_as_hubert(samples, small_hubert):
    from spin_fairseq.checkpoints import load_encoder

    frames = load_encoder(small_hubert).output_lengths(samples)
    assert frames == output_lengths(samples) == len(mfcc(torch.from_numpy(wave_of(samples))))


def test_digital_silence_is_finite():
    assert torch.isfinite(mfcc(torch.zeros(1000))).all()
