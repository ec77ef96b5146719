"""Changes of an utterance that leave its words as they are: noise, reverberation, tempo, pitch and formants.

Every distortion is a function of (seed, utterance id, wave) alone: neither the order of utterances nor what else is
distorted matters. Waves are (T,) float32 at 16 kHz. The kinds are those of Gat et al. 2023 (Augmentation Invariant Discrete
Representation for Generative Spoken Language Modeling) and Messica & Adi 2024 (NAST), with formants added; tempo and pitch
vary as far as in the first. Noise and rooms are synthetic, so that no recordings are needed; metrics of those papers, made
with recorded noise, are not to be compared with these.
"""

import hashlib
from dataclasses import dataclass
from collections.abc import Callable

import numpy as np
from scipy.signal import fftconvolve

from ...perturbation import change_speaker
from ...perturbation.noise import speech_shaped_noise
from ...perturbation.rooms import DECAY_SECONDS, DIRECT_DB, synthetic_room
from ...speech.audio import SAMPLE_RATE

TEMPO = (0.8, 1.2)
SEMITONES = 4.0
FORMANTS = 1.2
STRETCH_WINDOW = 1024  # samples, 64 ms: a few pitch periods, so that harmonics are resolved


@dataclass(frozen=True)
class Distortion:
    """key: "noise_10db"; title: in tables; definition: a plain sentence. apply: wave and a numpy Generator -> wave."""

    key: str
    title: str
    definition: str
    apply: Callable

    def __call__(self, wave, utterance, seed=0):
        """wave: (T,) float32 at 16 kHz; utterance: its id -> the distorted wave, float32."""
        digest = hashlib.sha256(repr((int(seed), self.key, str(utterance))).encode("utf-8", "surrogateescape")).digest()
        wave = np.asarray(wave, dtype=np.float32)
        return self.apply(wave, np.random.default_rng(list(digest))).astype(np.float32)


def add_noise(wave: np.ndarray, rng: np.random.Generator, snr_db: float) -> np.ndarray:
    """Stationary Gaussian noise with the utterance's long-term spectrum. SNR over the whole wave."""
    wave = wave.astype(np.float64)
    noise = speech_shaped_noise(wave, rng, SAMPLE_RATE)
    level = np.sqrt(np.mean(np.square(noise)))
    scale = np.sqrt(np.mean(np.square(wave))) / level if level > 0 else 0.0
    return wave + scale * 10 ** (-snr_db / 20) * noise


def reverberate(wave: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Convolution with a synthetic room.

    What comes after the end of the utterance is cut, so frames stay where they were; the level stays as it was.
    """
    changed = fftconvolve(wave, synthetic_room(rng, SAMPLE_RATE))[: len(wave)]
    power = np.mean(np.square(changed))
    return changed * np.sqrt(np.mean(np.square(wave, dtype=np.float64)) / power) if power > 0 else changed


def stretch(wave: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Another tempo at the same pitch, by librosa's phase vocoder; 1.2 is faster."""
    import librosa

    rate, window = rng.uniform(*TEMPO), min(STRETCH_WINDOW, len(wave))
    return librosa.effects.time_stretch(wave, rate=rate, n_fft=window, hop_length=max(1, window // 4))


def change_pitch(wave: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Another median f0, the formants as they were."""
    ratio = 2 ** (rng.uniform(-SEMITONES, SEMITONES) / 12)
    return change_speaker(wave, SAMPLE_RATE, pitch_ratio=ratio, seed=_small_seed(rng))


def change_formants(wave: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Other formants, the pitch as it was."""
    ratio = FORMANTS ** rng.uniform(-1, 1)
    return change_speaker(wave, SAMPLE_RATE, formant_ratio=ratio, seed=_small_seed(rng))


def _small_seed(rng):
    return int(rng.integers(2**31))


def _noise(snr_db):
    return Distortion(
        f"noise_{snr_db}db", f"noise at {snr_db} dB",
        f"stationary noise with the utterance's long-term spectrum at {snr_db} dB SNR",
        lambda wave, rng: add_noise(wave, rng, snr_db),
    )  # fmt: skip


DISTORTIONS = (
    _noise(20),
    _noise(10),
    _noise(0),
    Distortion(
        "reverberation", "reverberation",
        f"a synthetic room with T60 of {DECAY_SECONDS[0]} to {DECAY_SECONDS[1]} s and direct sound {DIRECT_DB[0]:.0f} to "
        f"{DIRECT_DB[1]:.0f} dB above it", reverberate,
    ),
    Distortion("stretch", "time stretch", f"{TEMPO[0]} to {TEMPO[1]} times as fast, by a phase vocoder", stretch),
    Distortion(
        "pitch", "pitch change", f"median f0 moved by up to {SEMITONES:.0f} semitones, by the voice change of Spin's training",
        change_pitch,
    ),
    Distortion(
        "formants", "formant change", f"formants moved by up to a factor of {FORMANTS}, by the voice change of Spin's training",
        change_formants,
    ),
)  # fmt: skip
