"""What surrounds the speaker in training: noise and rooms by the keys of the task, drawn for each view."""

import logging
import os
from pathlib import Path
from typing import Any
from collections.abc import Callable

import numpy as np

from ..encoders.trainable_layers import parse_list
from ..errors import AudioError, ConfigError, ManifestError
from ..perturbation.acoustics import AS_RECORDED, SILENCE, Acoustics
from ..perturbation.noise import babble, speech_shaped_noise
from ..perturbation.rooms import LONGEST_SECONDS, from_direct_sound, synthetic_room
from ..speech.archives import members
from ..speech.audio import SAMPLE_RATE, audio_info, read_utterance
from ..speech.finding import find_audio, printable
from ..speech.manifest import Manifest, manifest_at
from ..speech.recordings import Recordings

SPEECH_SHAPED, BABBLE, SYNTHETIC = "speech-shaped", "babble", "synthetic"
BUILT_IN = {"task.noise": (SPEECH_SHAPED, BABBLE), "task.reverberation": (SYNTHETIC,)}
FEWEST_TALKERS, MOST_TALKERS = 3, 6  # of babble
MOST_NAMED = 5  # recordings that are left out, in a message
MOST_DB = 100.0  # of a signal-to-noise ratio, either way

logger = logging.getLogger(__name__)


def open_recordings(key: str, path: str | Path) -> Recordings:
    """path: a folder, a manifest (.tsv, .json) or an archive (.zip, .tar) of audio at any rate -> Recordings.

    Files of a folder or an archive that cannot be read are left out, with a warning. key: of the configuration, for
    errors. Raises ConfigError, ManifestError, AudioError.
    """
    place = Path(path)
    if place.suffix in (".tsv", ".json"):
        manifest = manifest_at(place)
        return Recordings(manifest.path, len(manifest))
    if place.is_dir():
        files = find_audio(place)
    elif place.suffix in (".zip", ".tar") and place.is_file():
        files = [f"{place}:{member.offset}:{member.length}" for member in members(place)]
    else:
        raise ConfigError(
            f"{key} is {path}: there is no such folder, manifest (.tsv, .json) or archive (.zip, .tar); name one that is there, "
            f"or {' or '.join(BUILT_IN[key])}"
        )
    good, problems = [], []
    for file in files:
        try:
            audio_info(file)
            good.append(file)
        except AudioError as error:
            problems.append(printable(str(error)))
    listed = "\n  ".join(problems[:MOST_NAMED] + ["..."] * (len(problems) > MOST_NAMED))
    if not good:
        raise ManifestError(
            f"{key} is {path}: no audio in it can be read; choose another place" + f"\n  {listed}" * bool(listed)
        )
    if problems:
        logger.warning(f"{key}={path}: {len(problems)} of its {len(files)} files are left out:\n  {listed}")
    return Recordings(good.__getitem__, len(good))


def _fraction(key, value):
    if not 0 <= value <= 1:
        raise ConfigError(f"{key} is {value}: it must be a probability, between 0 and 1")
    return value


def snr_range(key: str, value: Any) -> tuple[float, float]:
    """ "-10,10" or [-10, 10] -> (-10.0, 10.0), dB. ConfigError."""
    try:
        low, high = (float(item) for item in parse_list(value))
        if -MOST_DB <= low <= high <= MOST_DB:
            return low, high
    except ValueError:
        pass
    raise ConfigError(
        f"{key} is {value}: it must be a lowest and a highest signal-to-noise ratio in dB, such as [-10, 10], between "
        f"{-MOST_DB:.0f} and {MOST_DB:.0f}"
    )


class AcousticsOfViews:
    """Draws noise and a room for a view, and makes them.

    noise, reverberation: what the keys say, names and paths; paths are taken from where `launch_path` says.
    noise_snr, noise_probability, reverberation_probability: as the keys. Raises ConfigError, ManifestError, AudioError.
    """

    def __init__(
        self, noise: Any, noise_snr: Any, noise_probability: float, reverberation: Any,
        reverberation_probability: float, launch_path: Callable[[str], str] = os.path.abspath,
    ):  # fmt: skip
        self._snr = snr_range("task.noise_snr", noise_snr)
        self._noise_probability = _fraction("task.noise_probability", noise_probability)
        self._room_probability = _fraction("task.reverberation_probability", reverberation_probability)
        self._noises = [
            name if name in (SPEECH_SHAPED, BABBLE) else open_recordings("task.noise", launch_path(name))
            for name in parse_list(noise)
        ]
        self._rooms = [
            name if name == SYNTHETIC else open_recordings("task.reverberation", launch_path(name))
            for name in parse_list(reverberation)
        ]

    def __bool__(self):
        return bool(self._noises or self._rooms)

    def check(self, manifest: Manifest) -> None:
        """Raises ConfigError where a split has nobody else for babble."""
        if BABBLE in self._noises and len(manifest) < 2:
            raise ConfigError(
                f"{manifest.source}: has one utterance, and task.noise=babble takes others of the split; add some, or take "
                "speech-shaped or a folder of noise"
            )

    def draw(
        self, noise_rng: np.random.Generator, room_rng: np.random.Generator, wave: np.ndarray, manifest: Manifest,
        index: int,
    ) -> Acoustics:  # fmt: skip
        """-> Acoustics of one view of utterance `index`, which is as long as `wave`, (T,) float32 as recorded.

        noise_rng, room_rng: numpy Generators of this view. Raises AudioError: a recording of noise cannot be read.
        """
        noise, snr_db, room = AS_RECORDED
        if self._noises and noise_rng.random() < self._noise_probability:
            source = self._noises[int(noise_rng.integers(len(self._noises)))]
            snr_db = noise_rng.uniform(*self._snr)
            if source == SPEECH_SHAPED:
                noise = speech_shaped_noise(wave, noise_rng, SAMPLE_RATE)
            elif source == BABBLE:
                noise = _other_utterances(noise_rng, len(wave), manifest, index)
            else:
                noise = source.crop(noise_rng, len(wave))
        if self._rooms and room_rng.random() < self._room_probability:
            source = self._rooms[int(room_rng.integers(len(self._rooms)))]
            if source == SYNTHETIC:
                room = synthetic_room(room_rng, SAMPLE_RATE).astype(np.float32)
            else:
                room = from_direct_sound(source.whole(room_rng, 2 * LONGEST_SECONDS), SAMPLE_RATE)
        return Acoustics(noise if len(noise) else SILENCE, float(snr_db), room)


def _other_utterances(rng, samples, manifest, index):
    """Babble of a split's utterances but `index`; those that cannot be read are counted when it is their own turn."""
    talkers = []
    for other in rng.integers(0, len(manifest) - 1, int(rng.integers(FEWEST_TALKERS, MOST_TALKERS + 1))).tolist():
        other += other >= index
        size = int(manifest.sizes[other])
        frames = min(size, samples)
        try:
            talkers.append(read_utterance(manifest, other, start=int(rng.integers(size - frames + 1)), frames=frames))
        except AudioError:
            continue
    return babble(talkers, samples)
