"""The pitch range of each speaker, which the pitch analysis of the voice change needs, and what is known of the voice.

`load_speaker_pitch` recognises these by their content, not by their name:

- the reference's `spk2info.dict`, a pickle `{"train"|"valid": {speaker: (_, (floor, ceiling, _))}}`;
- LibriSpeech's `SPEAKERS.TXT` (`id | sex | ...`): women 100..400 Hz, men 75..250 Hz;
- a table `speaker<TAB>floor<TAB>ceiling` in Hz, with or without a header; of further columns, those that the header calls
  `median` (Hz), `spread` (semitones) and `vocal_tract` are a speaker's voice, where all three are there;
- no file: a range is estimated for each utterance; Praat is given a wide one.
"""

from __future__ import annotations

import io
import math
import os
import reprlib
from collections.abc import Iterable
from pathlib import Path

from ..errors import SpeakerPitchError
from ..perturbation.draws import Voice
from ..unpickling import ForbiddenGlobal, PlainUnpickler

FETCH = "fetch the file from its original source"
VOICE_COLUMNS = Voice._fields
RANGE_OF_SEX = {"F": (100.0, 400.0), "M": (75.0, 250.0)}  # Hz


class SpeakerPitch:
    """Floor and ceiling of each speaker, in Hz; with `source` None nothing is known about any speaker.

    voices: of the speakers whose voice is known; None: the table does not say.
    """

    def __init__(
        self, ranges: dict[str, tuple[float, float]], source: Path | None, voices: dict[str, Voice] | None = None
    ):
        self.source = source
        self._ranges, self._voices = ranges, voices

    def __len__(self) -> int:
        return len(self._ranges)

    def __contains__(self, speaker: object) -> bool:
        return self.source is None or speaker in self._ranges

    def range(self, speaker: str) -> tuple[float, float] | None:
        """-> (floor, ceiling) in Hz; None without a table: the perturbation then estimates a range, or (Praat) takes a wide one.

        Raises SpeakerPitchError: the table lacks the speaker.
        """
        if self.source is None:
            return None
        found = self._ranges.get(speaker)
        if found is None:
            raise SpeakerPitchError(
                f"{self.source}: no speaker {speaker!r} among its {len(self._ranges)}; add a row "
                "(speaker<TAB>floor<TAB>ceiling in a .tsv), or leave task.speaker_pitch out"
            )
        return found

    def voices(self, speakers: Iterable[str]) -> dict[str, Voice]:
        """-> the voices of those of the speakers for whom they are known. Raises SpeakerPitchError: the table has no voices."""
        if self._voices is None:
            raise SpeakerPitchError(
                f"{self.source}: has no columns {', '.join(VOICE_COLUMNS)}, which task.voice_draw=corpus needs; make the table "
                "anew with spin-fairseq pitch MANIFEST ... --out TABLE.tsv, or set task.voice_draw=uniform"
            )
        return {speaker: self._voices[speaker] for speaker in speakers if speaker in self._voices}


def load_speaker_pitch(path: str | Path | None) -> SpeakerPitch:
    """Read a table of speaker pitch ranges. path None: there is no table.

    Raises SpeakerPitchError: the file is missing, of an unknown kind, malformed, or a pickle that would run code.
    """
    if path is None:
        return SpeakerPitch({}, None)
    source = Path(path)
    if not os.path.isfile(source):
        raise SpeakerPitchError(f"{source}: cannot be read: no such file; check task.speaker_pitch")
    try:
        content = source.read_bytes()
    except OSError as error:
        raise SpeakerPitchError(
            f"{source}: cannot be read: {error.strerror or error}; check its permissions"
        ) from error
    try:
        lines = content.decode("utf-8-sig").splitlines()
    except UnicodeDecodeError:
        lines = []
    has_header = bool(lines) and lines[0].startswith("speaker\tfloor\tceiling")
    rows = [
        (n, line)
        for n, line in enumerate(lines, start=1)
        if line.strip() and (line.lstrip()[0] not in ";#" or (has_header and _is_range(line)))
    ]
    voices = None
    if rows and "\t" in rows[0][1]:
        ranges, voices = _read_table(rows, source)
    elif rows and "|" in rows[0][1]:
        ranges = _ranges_of_speakers_txt(rows, source)
    else:
        ranges = _ranges_of_spk2info(content, source)
    if not ranges:
        raise SpeakerPitchError(f"{source}: has no speakers; add rows speaker<TAB>floor<TAB>ceiling")
    return SpeakerPitch(ranges, source, voices)


def _checked_range(floor: object, ceiling: object, where: str) -> tuple[float, float]:
    try:
        low, high = float(floor), float(ceiling)
    except (TypeError, ValueError, OverflowError):
        low, high = math.nan, math.nan
    if not 0 < low < high < math.inf:
        raise SpeakerPitchError(
            f"{where}: {reprlib.repr(floor)}, {reprlib.repr(ceiling)} is not a floor in Hz and a higher ceiling; mend it"
        )
    return low, high


def _read_table(rows: list[tuple[int, str]], source: Path) -> tuple[dict, dict | None]:
    """-> ranges, and voices where the header names their columns."""
    ranges, voices, columns = {}, {}, None
    for number, line in rows:
        speaker, *numbers = (field.strip() for field in line.split("\t"))
        is_header = number == rows[0][0] and len(numbers) >= 2 and not _is_number(numbers[0])
        if is_header:
            if all(numbers.count(name) == 1 for name in VOICE_COLUMNS):
                columns = [numbers.index(name) for name in VOICE_COLUMNS]
            continue
        where = f"{source}, line {number}"
        if len(numbers) < 2 or not speaker:
            raise SpeakerPitchError(f"{where}: a row is speaker<TAB>floor<TAB>ceiling; this is {line[:80]!r}")
        if speaker in ranges:
            raise SpeakerPitchError(f"{where}: speaker {speaker!r} is there twice; remove one of the rows")
        ranges[speaker] = _checked_range(numbers[0], numbers[1], where)
        if columns:
            voice = _checked_voice([numbers[column] for column in columns if column < len(numbers)], where)
            if voice is not None:
                voices[speaker] = voice
    return ranges, voices if columns else None


def _checked_voice(texts: list[str], where: str) -> Voice | None:
    """None where a value is nan: it is not known."""
    try:
        voice = Voice(*map(float, texts))
        if any(map(math.isnan, voice)):
            return None
        if 0 < voice.median < math.inf and 0 <= voice.spread < math.inf and 0 < voice.vocal_tract < math.inf:
            return voice
    except (TypeError, ValueError):
        pass
    raise SpeakerPitchError(
        f"{where}: {', '.join(VOICE_COLUMNS)} are {', '.join(texts)[:80]!r}, not three numbers above 0; write nan for what is not known"
    )


def _is_range(line: str) -> bool:
    """Whether a line that looks like a comment is the row of a speaker whose name begins with that character."""
    speaker, *numbers = line.split("\t")
    return len(numbers) >= 2 and all(map(_is_number, numbers[:2]))


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def _ranges_of_speakers_txt(rows: list[tuple[int, str]], source: Path) -> dict[str, tuple[float, float]]:
    ranges = {}
    for number, line in rows:
        speaker, sex, *_ = (field.strip() for field in (line + "|").split("|"))
        if not speaker or sex not in RANGE_OF_SEX:
            raise SpeakerPitchError(f"{source}, line {number}: a row is `id | F or M | ...`; this is {line[:80]!r}")
        ranges[speaker] = RANGE_OF_SEX[sex]
    return ranges


# --- spk2info.dict ----------------------------------------------------------------------------------------------


def _ranges_of_spk2info(content: bytes, source: Path) -> dict[str, tuple[float, float]]:
    info = _read_plain_pickle(content, source)
    if not isinstance(info, dict) or not any(isinstance(info.get(part), dict) for part in ("train", "valid")):
        raise SpeakerPitchError(
            f"{source}: is a pickle, but not spk2info.dict's {{'train': {{speaker: ...}}}}; {FETCH}"
        )
    ranges = {}
    for part in ("valid", "train"):  # a speaker in both gets the range of "train"
        speakers = info.get(part)
        for speaker, entry in speakers.items() if isinstance(speakers, dict) else ():
            where = f"{source}, speaker {speaker!r} of {part!r}"[:300]
            try:
                floor, ceiling = entry[1][0], entry[1][1]
                if isinstance(entry[1], (str, bytes, bytearray)):
                    raise TypeError("text")
            except (TypeError, IndexError, KeyError) as error:
                raise SpeakerPitchError(f"{where}: the entry is not (_, (floor, ceiling, _)); {FETCH}") from error
            low, high = _checked_range(floor, ceiling, where)
            # The two corrections that the original code makes to this file.
            ranges[str(speaker)] = (60.0, 400.0) if str(speaker) == "1447" else (75.0 if low == 50 else low, high)
    return {speaker: _checked_range(*limits, f"{source}, speaker {speaker!r}") for speaker, limits in ranges.items()}


def _read_plain_pickle(content: bytes, source: Path) -> object:
    try:
        return PlainUnpickler(io.BytesIO(content), encoding="latin1").load()
    except ForbiddenGlobal as refused:
        raise SpeakerPitchError(
            f"{source}: this pickle wants to call {refused}, which a table of numbers does not need; nothing was run; "
            f"{FETCH}"
        ) from refused
    except Exception as error:  # on garbage an unpickler may raise almost anything
        raise SpeakerPitchError(
            f"{source}: is none of spk2info.dict, SPEAKERS.TXT, and a table speaker<TAB>floor<TAB>ceiling; "
            f"make one with spin-fairseq pitch (read as a pickle: {type(error).__name__}: {error})"[:600]
        ) from error
