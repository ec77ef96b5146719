#!/usr/bin/env python3
"""Fit the Gaussian mixture by which `spin-fairseq pitch` finds the length of a speaker's vocal tract.

    python scripts/fit_vocal_tract_reference.py SPEECH/train.tsv --out spin_fairseq/preparation/vocal_tract_reference.tsv

The manifest should have a hundred speakers or more, about as many women as men. In turn, a mixture is fitted to the voiced
frames of all speakers, each speaker's frequency axis warped as found so far, and each speaker's warp is found anew by the
mixture, until fewer than 1 % move by more than a step of the grid. The mean warp is kept at 1. The table in the package was made of the 62 minutes of 226 speakers
of LibriSpeech (CC BY 4.0) that examples/real_speech/from_clones.py puts together.
"""

import argparse
import sys
from pathlib import Path

import numpy as np
from sklearn.mixture import GaussianMixture

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from spin_fairseq.errors import SpeakerPitchError  # noqa: E402
from spin_fairseq.files import write_text  # noqa: E402
from spin_fairseq.perturbation import pitch  # noqa: E402
from spin_fairseq.perturbation.waves import as_waves  # noqa: E402
from spin_fairseq.preparation.vocal_tract import WARPS, Mixture, log_likelihoods, warped_cepstra  # noqa: E402
from spin_fairseq.speech.audio import SAMPLE_RATE, read_audio  # noqa: E402
from spin_fairseq.speech.manifest import manifest_at  # noqa: E402

COMPONENTS = 32
ROUNDS = 10  # at most
SETTLED = 0.01  # fraction of speakers that may still move
FRAMES = 20000  # to which a mixture is fitted
SECONDS = 20  # of a file, at most
FILES = 4  # of a speaker, at most


def cepstra_of_speakers(manifest):
    """-> {speaker: [(warps, frames, cepstra), one a file]}."""
    found = {}
    for i in range(len(manifest)):
        of_speaker = found.setdefault(manifest.speaker(i), [])
        if len(of_speaker) < FILES:
            wave = read_audio(manifest.path(i), frames=min(int(manifest.sizes[i]), SECONDS * SAMPLE_RATE))
            waves = as_waves(wave)
            f0, frames = pitch.f0_contour(waves.samples, waves.lengths, SAMPLE_RATE)
            of_speaker.append(warped_cepstra(wave, f0[0].numpy(), frames.step))
    return found


def fit(speakers):
    """-> Mixture, {speaker: index of the warp}. speakers: of `cepstra_of_speakers`."""
    middle = len(WARPS) // 2
    warps, means = dict.fromkeys(speakers, middle), None
    for turn in range(ROUNDS):
        frames = np.concatenate([cepstra[warps[name]] for name, files in speakers.items() for cepstra in files])
        frames = frames[np.random.default_rng(0).permutation(len(frames))[:FRAMES]]
        fitted = GaussianMixture(
            COMPONENTS, covariance_type="diag", reg_covar=1e-3, max_iter=200, random_state=0, means_init=means
        ).fit(frames)
        means = fitted.means_
        mixture = Mixture(*(x.astype(np.float32) for x in (fitted.weights_, fitted.means_, fitted.covariances_)))
        found = {
            name: int(sum(log_likelihoods(cepstra, mixture) for cepstra in files).argmax())
            for name, files in speakers.items()
        }
        mean = round(np.mean(list(found.values()))) - middle
        found = {name: min(max(warp - mean, 0), len(WARPS) - 1) for name, warp in found.items()}
        moved = sum(abs(found[name] - warps[name]) > 1 for name in found)
        print(f"round {turn + 1}: {moved} of {len(found)} speakers moved, log likelihood {fitted.lower_bound_:.3f}")
        warps = found
        if moved < SETTLED * len(found):
            break
    return mixture, warps


def main(argv=None):
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("manifest", type=Path)
    parser.add_argument("--out", type=Path, required=True)
    args = parser.parse_args(argv)
    mixture, _ = fit(cepstra_of_speakers(manifest_at(args.manifest)))
    rows = np.concatenate([mixture.weights[:, None], mixture.means, mixture.variances], 1)
    header = "# weight, means and variances of each component; scripts/fit_vocal_tract_reference.py"
    text = "\n".join("\t".join(f"{value:.4g}" for value in row) for row in rows[np.argsort(-rows[:, 0])])
    write_text(args.out, f"{header}\n{text}\n", SpeakerPitchError)


if __name__ == "__main__":
    main()
