"""The voices that the second view is changed to: like no particular one, or like another speaker's of the split."""

import logging

import numpy as np

from ..errors import ConfigError
from ..perturbation.draws import SpeakerDraw, draw_speaker, draw_speaker_of
from ..speech.manifest import Manifest
from ..speech.speaker_pitch import SpeakerPitch

logger = logging.getLogger(__name__)

UNIFORM, CORPUS = DRAWS = ("uniform", "corpus")


class UniformVoices:
    """Draws that know nothing of speakers. strength: as in `draw_speaker`."""

    def __init__(self, strength: float = 1.0):
        self.strength = strength

    def draw(self, rng: np.random.Generator, speaker: str) -> SpeakerDraw:
        return draw_speaker(rng, self.strength)


class CorpusVoices:
    """Draws towards other speakers of a split.

    An utterance is changed like a uniform draw where its speaker's voice is not known, or where no other speaker's is: the
    number of such speakers is logged.

    pitch: what `load_speaker_pitch` returns. train: two known voices are needed, so that there is something to draw.
    Raises SpeakerPitchError: the table has no voices. ConfigError: it has fewer than two, in training.
    """

    def __init__(self, manifest: Manifest, pitch: SpeakerPitch, strength: float = 1.0, *, train: bool = True):
        speakers = manifest.speakers()
        voices = pitch.voices(sorted(speakers))
        if train and len(voices) < 2:
            raise ConfigError(
                f"task.voice_draw is corpus: {pitch.source} knows the voices of {len(voices)} of the {len(speakers)} speakers of "
                f"{manifest.source}, and at least 2 are needed; set task.voice_draw=uniform"
            )
        self.strength = strength
        self._places = {speaker: place for place, speaker in enumerate(voices)} if len(voices) > 1 else {}
        self._voices = list(voices.values())
        logger.info(
            f"{manifest.source}: voices are drawn among {len(self._places)} of its {len(speakers)} speakers; "
            "those of the other speakers' utterances uniformly"
        )

    def draw(self, rng: np.random.Generator, speaker: str) -> SpeakerDraw:
        place = self._places.get(speaker)
        if place is None:
            return draw_speaker(rng, self.strength)
        return draw_speaker_of(rng, self._voices, place, self.strength)
