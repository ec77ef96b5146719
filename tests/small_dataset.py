import numpy as np

from spin_fairseq.speech.manifest import load_manifest
from spin_fairseq.speech.speaker_pitch import load_speaker_pitch
from spin_fairseq.data.two_view_dataset import TwoViewDataset


def scaled(wave, sample_rate, pitch_range, draw):
    """A quick stand-in for a voice change, which shows the draw."""
    return wave * np.float32(draw.formant_ratio)


def make_dataset(data, split="train", **options):
    defaults = {"pitch": load_speaker_pitch(None), "backend": scaled, "seed": 7, "train": split == "train"}
    defaults.update(min_samples=800, max_samples=20000)
    return TwoViewDataset(load_manifest(data, split), **{**defaults, **options})
