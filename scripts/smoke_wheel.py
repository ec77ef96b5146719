"""Uses the installed package as its reader would; scripts/smoke_wheel.sh runs it in an empty folder, without fairseq.

Arguments: a Spin checkpoint; the checkout, which nothing may come from.
"""

import subprocess
import sys
from importlib.metadata import distribution, metadata
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import soundfile
import torch

import spin_fairseq

RATE = 16000


def vowel(seconds=1.5, pitch=120.0):
    """A buzz with three formants, (T,) float32 at 16 kHz."""
    time = np.arange(int(seconds * RATE)) / RATE
    harmonics = np.arange(1, 40)[:, None] * pitch
    gains = sum(1 / (1 + ((harmonics - formant) / 90) ** 2) for formant in (700, 1200, 2500))
    wave = (gains * np.sin(2 * np.pi * harmonics * time)).sum(0)
    return (0.3 * wave / np.abs(wave).max()).astype(np.float32)


def command(*arguments):
    """What `spin-fairseq ARGUMENTS` prints; an error of the command ends this program."""
    program = Path(sys.executable).with_name("spin-fairseq")
    done = subprocess.run([program, *arguments], capture_output=True, text=True)
    if done.returncode:
        sys.exit(f"wheel: FAILED: spin-fairseq {' '.join(arguments)}: exit status {done.returncode}\n{done.stderr}")
    return done.stdout + done.stderr


def check(what, holds):
    print(f"wheel: {'ok' if holds else 'FAILED'}: {what}")
    if not holds:
        sys.exit(1)


def main(checkpoint, checkout):
    package = Path(spin_fairseq.__file__).parent
    installed = package.parent.name == "site-packages" and not package.is_relative_to(checkout)
    check("the package comes from the wheel", installed)
    check("there is no fairseq", find_spec("fairseq") is None)
    check("there is a long description", len(metadata("spin_fairseq").get_payload() or "") > 500)

    wave = vowel()
    other = spin_fairseq.change_speaker(wave, RATE, formant_ratio=1.2, pitch_ratio=0.8, range_ratio=1.1)
    check("change_speaker makes another voice", len(other) == len(wave) and not np.allclose(other, wave, atol=1e-2))

    model = spin_fairseq.load_spin(checkpoint)
    waveform = torch.from_numpy(wave)[None]
    units = model.extract_units(waveform)
    features, _ = model.extract_features(waveform)
    check(f"load_spin: {units.shape[1]} units of 1.5 s", units.shape[0] == 1 and 70 <= units.shape[1] <= 75)
    check("extract_features: as many frames", features.shape[:2] == units.shape)

    audio = Path("audio")
    audio.mkdir()
    for index, pitch in enumerate((110.0, 150.0, 220.0)):
        soundfile.write(audio / f"{index}-vowel.wav", vowel(pitch=pitch), RATE)
    verbs = command("--help")
    check("spin-fairseq lists its verbs", all(verb in verbs for verb in ("units", "convert", "train", "inspect")))
    command("units", checkpoint, "audio", "--out", "units.km")
    check("spin-fairseq units: a line for each file", len(Path("units.km").read_text().splitlines()) == 3)
    check("spin-fairseq inspect", "codebook" in command("inspect", checkpoint).lower())
    command("convert", checkpoint, "--to", "hf", "--out", "converted")
    check("spin-fairseq convert --to hf", any(Path("converted").glob("*.safetensors")))
    line = command("train", "spin_hubert_base", "task.data=data", "--dry-run")
    check("spin-fairseq train finds the wheel's configurations", f"--config-dir {package / 'config'}" in line)
    data = ("preparation/vocal_tract_reference.tsv", "report/templates/report.html")
    files = ("py.typed", "config/spin_wavlm_base.yaml", "config/spin_demo.yaml", *data)
    check("the wheel has configurations, templates and py.typed", all((package / name).is_file() for name in files))
    check("the wheel has the licence", "MIT" in (distribution("spin_fairseq").read_text("licenses/LICENSE") or ""))
    check("still no fairseq", "fairseq" not in sys.modules)


if __name__ == "__main__":
    main(*sys.argv[1:])
