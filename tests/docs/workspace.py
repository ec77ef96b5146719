"""A copy of the repository in which the commands of the pages run, with small things under the names that they expect."""

import os
import shutil
import sys
from pathlib import Path

import soundfile
import torch
import yaml

from spin_fairseq.speech.audio import audio_info
from spin_fairseq.speech.manifest import write_manifest
from tests.report.small_report import make_run
from tests.small_hubert import fairseq_hubert
from tests.spin_checkpoints import save_spin
from tests.synthetic_speech import SAMPLE_RATE, SPEAKER_F0, VOWEL_FORMANTS, synthetic_voice

REPOSITORY = Path(__file__).resolve().parents[2]
COPIED = (
    "spin_fairseq",
    "config",
    "scripts",
    "examples",
    "docs",
    "README.md",
    "setup.py",
    "pyproject.toml",
    "Makefile",
)

# What a few updates on a CPU need; the command lines stay as they are printed.
SMALL_TRAINING = {
    "common": {"fp16": False, "cpu": True, "log_format": "simple", "log_interval": 1},
    "dataset": {"max_tokens": 400_000, "num_workers": 0, "validate_interval_updates": 2},
    "optimization": {"max_update": 2},
    "lr_scheduler": {"warmup_updates": 1, "total_num_update": 2},
    "checkpoint": {"save_interval_updates": 2},
    "model": {"codebook_sizes": [16], "head_dims": [16]},
}
# Programs that a page may name: by what they are in this environment.
PROGRAMS = {
    "python": [sys.executable],
    "spin-fairseq": [sys.executable, "-m", "spin_fairseq"],
    "fairseq-hydra-train": [sys.executable, "-m", "fairseq_cli.hydra_train"],
    "fairseq-train": [sys.executable, "-m", "fairseq_cli.train"],
}


class Workspace:
    """root: of the copy. `prepare(text)` puts there what commands mention and earlier ones have not made."""

    def __init__(self, root):
        self.root = root
        ignored = shutil.ignore_patterns("__pycache__", "*.pyc", ".venv*", "outputs")
        for name in COPIED:
            source = REPOSITORY / name
            if source.is_dir():
                shutil.copytree(source, root / name, ignore=ignored)
            elif source.exists():
                shutil.copy(source, root / name)
        for file in (root / "config").glob("*.yaml"):
            text = file.read_text()
            config = yaml.safe_load(text)
            codebooks = len(config.get("model", {}).get("codebook_sizes") or [0])
            for section, keys in SMALL_TRAINING.items():
                config.setdefault(section, {}).update(keys)
            config["model"]["codebook_sizes"] = [16, 24, 32][:codebooks]
            header = "".join(line + "\n" for line in text.splitlines() if line.startswith("# @package"))
            file.write_text(header + yaml.safe_dump(config, sort_keys=False))
        (root / "bin").mkdir()
        for name, words in PROGRAMS.items():
            program = root / "bin" / name
            program.write_text(f'#!/bin/sh\nexec {" ".join(map(repr, words))} "$@"\n')
            program.chmod(0o755)

    def environment(self):
        path = os.pathsep.join([str(self.root / "bin"), os.environ["PATH"]])
        return {
            **os.environ,
            "PATH": path,
            "PYTHONPATH": str(self.root),
            "OMP_NUM_THREADS": "1",
            "PYTHONWARNINGS": "ignore",
        }

    def prepare(self, text):
        for name, make in FIXTURES.items():
            made_here = name in MADE_BY and MADE_BY[name] in text
            if name in text and not made_here and not (self.root / name).exists():
                (self.root / name).parent.mkdir(parents=True, exist_ok=True)
                make(self.root / name)


# --- what commands expect, by the name that the pages give it ----------------------------------------------------------------


def recordings(folder, names, phones=15):
    """Files of 3 s, of one of four voices each, by turns."""
    vowels = list(VOWEL_FORMANTS)
    for n, name in enumerate(names):
        wave = synthetic_voice(
            list(SPEAKER_F0.values())[n % len(SPEAKER_F0)], [vowels[(n + i) % 4] for i in range(phones)], seed=n
        )
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        soundfile.write(folder / name, wave, SAMPLE_RATE)


def any_audio(folder):
    recordings(folder, [f"{speaker}/{speaker}-{n}.wav" for n in range(5) for speaker in SPEAKER_F0])


def librispeech(folder):
    for split, count in (("train-clean-100", 3), ("dev-clean", 1), ("dev-other", 1)):
        names = [f"{speaker}/1/{speaker}-1-{n:04d}.flac" for n in range(count) for speaker in SPEAKER_F0]
        recordings(folder / split, names)
    lines = [f"{speaker:<5}| {'MF'[n % 2]} | train-clean-100 | 25.0 | Nobody" for n, speaker in enumerate(SPEAKER_F0)]
    (folder / "SPEAKERS.TXT").write_text("\n".join([";ID |SEX| SUBSET |MINUTES| NAME", *lines]) + "\n")


def base(path):
    torch.save(fairseq_hubert(encoder_layers=12)[1], path)


def spin(path):
    save_spin(path, codebook_sizes=[16], head_dims=[16])


def manifests(path):
    """A split of some audio; train and dev have other files."""
    names = [f"{speaker}/{speaker}-{path.stem}-{n}.wav" for n in range(4) for speaker in SPEAKER_F0]
    audio = path.parent / "audio"
    recordings(audio, names)
    write_manifest(path, audio.resolve(), [(name, audio_info(audio / name)[0]) for name in names])


def librispeech_manifests(folder):
    for split in ("train", "dev"):
        manifests(folder / f"{split}.tsv")


def demo_split(path):
    """A manifest of the demo's own speech, as the demo makes it."""
    audio = (path.parents[2] / "examples" / "demo" / "natural").resolve()
    files = sorted(file for file in (audio / path.stem).rglob("*") if file.suffix in (".flac", ".ogg"))
    write_manifest(path, audio, [(str(file.relative_to(audio)), audio_info(file)[0]) for file in files])


def demo_training(path):
    """The demo's checkpoint, and what its training logs beside it."""
    make_run(path.parent)
    spin(path)


FIXTURES = {
    "MY_AUDIO": any_audio,
    "LibriSpeech": librispeech,
    "hubert_base_ls960.pt": base,
    "outputs/demo/checkpoint_last.pt": demo_training,
    "outputs/demo/dev.tsv": demo_split,
    "outputs/demo/train.tsv": demo_split,
    "outputs/spin_hubert_base/checkpoints/checkpoint_last.pt": spin,
    "spin_2048.pt": spin,
    "data/mine/train.tsv": manifests,
    "data/mine/dev.tsv": manifests,
    "data/librispeech": librispeech_manifests,
}
# The command that makes such a thing itself: where a block has it, the thing must not be there before.
MADE_BY = {
    "outputs/spin_hubert_base/checkpoints/checkpoint_last.pt": "train spin_hubert_base",
    "data/mine/train.tsv": "prepare MY_AUDIO --out data/mine",
    "data/mine/dev.tsv": "prepare MY_AUDIO --out data/mine",
    "data/librispeech": "prepare LibriSpeech --out data/librispeech",
}
