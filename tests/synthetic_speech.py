"""Speech made of pulses and resonators: enough for pitch, formants and phones, and the same on every machine."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import soundfile
from scipy.signal import lfilter

from spin_fairseq.speech.manifest import write_manifest

SAMPLE_RATE = 16000
SPEAKER_F0 = {"19": 110.0, "26": 150.0, "84": 200.0, "116": 240.0}  # Hz
VOWEL_FORMANTS = {  # Hz
    "AA": (730, 1090, 2440),
    "IY": (270, 2290, 3010),
    "UW": (300, 870, 2240),
    "EH": (530, 1840, 2480),
}


def _resonate(wave, frequency, bandwidth=90.0):
    """A formant: a two-pole resonator with unit gain at 0 Hz."""
    radius = np.exp(-np.pi * bandwidth / SAMPLE_RATE)
    a = [1.0, -2.0 * radius * np.cos(2 * np.pi * frequency / SAMPLE_RATE), radius**2]
    return lfilter([sum(a)], a, wave)


def synthetic_voice(f0, phones, phone_seconds=0.2, seed=0):
    """A pulse train through formants, one vowel after another; "SIL" is faint noise. -> (T,) float32."""
    rng = np.random.default_rng(seed)
    samples = round(phone_seconds * SAMPLE_RATE)
    time = np.arange(samples * len(phones)) / SAMPLE_RATE
    contour = f0 * (1.0 + 0.1 * np.sin(2 * np.pi * 1.3 * time + rng.uniform(0, 6)))
    phase = np.cumsum(contour) / SAMPLE_RATE
    pulses = np.diff(np.floor(phase), prepend=0.0) + 0.003 * rng.standard_normal(len(time))
    segments = []
    for phone, segment in zip(phones, pulses.reshape(len(phones), samples)):
        if phone == "SIL":
            segments.append(1e-4 * rng.standard_normal(samples))
            continue
        for formant in VOWEL_FORMANTS[phone]:
            segment = _resonate(segment, formant)
        segments.append(segment)
    wave = np.concatenate(segments)
    return (0.5 * wave / np.abs(wave).max()).astype(np.float32)


@dataclass
class Speech:
    """`data` holds train.tsv and dev.tsv, `phones` dev.tsv; `phones_of` an utterance's phones, 0.2 s each."""

    data: Path
    phones: Path
    phones_of: dict


def make_speech(root, train=12, dev=6, seed=0):
    rng = np.random.default_rng(seed)
    names = ["SIL", *VOWEL_FORMANTS]
    phones_of = {}
    for split, count in (("train", train), ("dev", dev)):
        rows = []
        for n in range(count):
            speaker = list(SPEAKER_F0)[n % len(SPEAKER_F0)]
            phones = [names[i] for i in rng.integers(0, len(names), rng.integers(6, 11))]
            phones[1] = "AA"  # each has a voiced stretch
            utterance = f"{speaker}-{split}-{n:04d}"
            wave = synthetic_voice(SPEAKER_F0[speaker], phones, seed=seed + n)
            wave = wave[: len(wave) - int(rng.integers(0, 2000))]
            path = root / "audio" / speaker / f"{utterance}.{'wav' if n % 3 == 0 else 'flac'}"
            path.parent.mkdir(parents=True, exist_ok=True)
            soundfile.write(path, wave, SAMPLE_RATE)
            rows.append((f"{speaker}/{path.name}", len(wave)))
            phones_of[utterance] = phones
        write_manifest(root / f"{split}.tsv", root / "audio", rows)
    (root / "phones").mkdir()
    lines = (f"{name}\t{','.join(p for p in phones for _ in range(20))}\n" for name, phones in phones_of.items())
    (root / "phones" / "dev.tsv").write_text("".join(line for line in lines if "-dev-" in line))
    return Speech(root, root / "phones", phones_of)
