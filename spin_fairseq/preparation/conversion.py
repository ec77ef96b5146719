"""Convert any audio file to 16 kHz mono 16-bit FLAC with sox; soundfile or ffmpeg first decode what sox cannot read.

The FLAC comment of a conversion records its source file, with size and date, and the channel that was taken. So a source
that has been replaced is converted again, and two sources never share a conversion.
"""

from __future__ import annotations

import json
import logging
import math
import os
import secrets
import shutil
import tempfile
from typing import NamedTuple

import numpy as np
import soundfile

from spin_fairseq.errors import AudioError, ManifestError
from spin_fairseq.files import whole_file
from spin_fairseq.preparation.decoding import Contents, contents_of, decode_by_ffmpeg, decode_by_soundfile
from spin_fairseq.preparation.mp3_frames import Mp3Lengths, mp3_lengths
from spin_fairseq.preparation.ogg_links import chained_seconds
from spin_fairseq.speech.audio import SAMPLE_RATE, read_audio

# A lossy codec pads by up to a few thousand samples; a truncated file lacks more.
TOLERANCE_SECONDS, TOLERANCE_FRACTION = 0.25, 0.01
MP3_SUFFIXES = (".mp3", ".mp2", ".mpga")
OGG_SUFFIXES = (".ogg", ".oga", ".opus")
# Unless channels cancel each other, their mean has at least the power that it has for unrelated ones, sum(p) / N^2.
CANCELLED, PARTLY_CANCELLED = 0.01, 0.1
LONGEST_NAME = 255  # bytes, on most file systems
SILENT = 1e-9  # mean square
OTHER_FOLDER = "convert to another folder (--convert-to), or delete the conversion"


class Origin(NamedTuple):
    """What a conversion was made from."""

    path: str  # absolute
    bytes: int
    modified: int  # nanoseconds since 1970
    channel: int | None  # from 1; None: the mean of all


class Converted(NamedTuple):
    """A conversion on disk."""

    samples: int  # at 16 kHz
    note: str = ""  # a warning for the user


class _Readable(NamedTuple):
    """A file that soundfile can read: the source, or its decoding."""

    path: str
    contents: Contents
    note: str


def convert_to_flac(source: str, target: str, channel: int | None = None) -> Converted:
    """Write `target`, completely or not at all; an existing conversion of the same source is kept.

    channel: which channel of a multichannel file to take, counted from 1; None: their mean.
    Raises AudioError: `source` is unreadable, truncated, empty, contains NaN, lacks the channel, or its channels cancel
    each other; or the sox program is missing.
    ManifestError: `target` is the conversion of another file.
    """
    origin = origin_of(source, channel)
    kept = _kept(target, origin)
    if kept is not None:
        return kept
    if len(os.fsencode(os.path.basename(target))) > LONGEST_NAME:
        raise AudioError(f"{source}: has too long a name for its conversion; rename it")
    # The temporary name is unique, and short however long the target's is. A full disk is not the fault of the audio:
    # as an AudioError it would make every file a bad one.
    hidden = os.path.join(os.path.dirname(target), f".{os.getpid()}-{secrets.token_hex(4)}.flac")
    with whole_file(target, ManifestError, temporary=hidden):
        converted = _make(source, hidden, origin)
        _check_replaceable(target, hidden, origin)
    return converted


def origin_of(source: str, channel: int | None = None) -> Origin:
    """Raises AudioError: there is no such file."""
    try:
        status = os.stat(source)
    except OSError as error:
        raise AudioError(f"{source}: cannot be read: {error.strerror or error}; check the file") from error
    return Origin(os.path.abspath(source), status.st_size, status.st_mtime_ns, channel)


def recorded_origin(target: str) -> tuple[Origin, str] | None:
    """The source that a conversion records, and its note; None: not a conversion, or one by an earlier release."""
    try:
        with soundfile.SoundFile(target) as file:
            fields = json.loads(file.comment)["converted_from"]
        return Origin(**{name: fields[name] for name in Origin._fields}), str(fields["note"])
    except (soundfile.SoundFileError, OSError, ValueError, KeyError, TypeError):
        return None


def _comment(origin: Origin, note: str) -> str:
    return json.dumps({"converted_from": {**origin._asdict(), "note": note}})  # ASCII, whatever the path


def _kept(target: str, origin: Origin) -> Converted | None:
    """The existing conversion, if it is complete and made from this source."""
    there = recorded_origin(target) if os.path.exists(target) else None
    if there is None:
        return None
    recorded, note = there
    if recorded.path != origin.path:
        moved = recorded._replace(path="") == origin._replace(path="") and not os.path.exists(recorded.path)
        if not moved:
            gone = "" if os.path.exists(recorded.path) else ", which is gone"
            raise ManifestError(
                f"{target}: is the conversion of {recorded.path}{gone}; that of {origin.path} would take its place: "
                f"{OTHER_FOLDER}"
            )
    elif recorded != origin:
        return None
    try:
        return Converted(len(read_audio(target)), note)
    except AudioError:
        return None  # damaged: it is made again


def _check_replaceable(target: str, temporary: str, origin: Origin) -> None:
    """A file at the target's path that records no source may be replaced only if it holds the same audio or is unreadable."""
    if not os.path.exists(target) or recorded_origin(target) is not None:
        return
    try:
        there = read_audio(target)
    except AudioError:
        return
    if not np.array_equal(there, read_audio(temporary)):
        raise ManifestError(f"{target}: is in the way, and is not the conversion of {origin.path}; {OTHER_FOLDER}")


def _make(source: str, target: str, origin: Origin) -> Converted:
    with tempfile.TemporaryDirectory(prefix="spin_") as folder:
        wav = os.path.join(folder, "decoded.wav")
        path, contents, note = _readable(source, wav)
        note = "; ".join(filter(None, (note, _note_of_channels(source, contents, origin.channel))))
        channel = origin.channel if len(contents.powers) > 1 else None
        problem = _sox(path, target, channel, _comment(origin, note))
        if problem and path == source:  # an MP3, and this sox was built without MP3 support
            decode_by_soundfile(source, wav)
            problem = _sox(wav, target, channel, _comment(origin, note))
    if problem:
        raise AudioError(f"{source}: sox cannot convert it ({problem}); convert it to WAV first")
    try:
        samples = len(read_audio(target))
    except AudioError as error:
        raise AudioError(f"{source}: sox made nothing usable of it: {error}") from error
    _check_whole(source, samples / SAMPLE_RATE, contents.seconds)
    return Converted(samples, note)


def _readable(source: str, wav: str) -> _Readable:
    """The source or, where soundfile cannot read all of it, its decoding at `wav`. Raises AudioError."""
    contents, mp3 = contents_of(source), _mp3_lengths(source)
    chain = _chained_seconds(source)
    if contents is None:
        promised = None
        if _sox(source, wav):
            promised = decode_by_ffmpeg(source, wav)
        contents = contents_of(wav)
        _check_whole(source, contents.seconds, chain or promised)
        return _Readable(wav, contents, "")
    if chain is not None and _lacks(contents.seconds, chain):
        if not shutil.which("ffmpeg"):
            note = f"{chain_note(chain, contents.seconds)}; install ffmpeg, delete the conversion and run again"
            return _Readable(source, contents, note)
        decode_by_ffmpeg(source, wav)
        contents = contents_of(wav)
        return _Readable(wav, contents, chain_note(chain, contents.seconds) if _lacks(contents.seconds, chain) else "")
    if mp3 is None:
        _check_whole(source, contents.seconds, contents.promised)
        return _Readable(source, contents, "")
    _check_whole(source, mp3.frames, mp3.promised)
    if not _lacks(contents.seconds, mp3.frames):
        return _Readable(source, contents, "")
    if not shutil.which("ffmpeg"):
        note = f"{mp3_note(mp3, contents.seconds)}; install ffmpeg, delete the conversion and run again"
        return _Readable(source, contents, note)
    decode_by_ffmpeg(source, wav)
    contents = contents_of(wav)
    return _Readable(wav, contents, mp3_note(mp3, contents.seconds) if _lacks(contents.seconds, mp3.frames) else "")


def mp3_note(mp3: Mp3Lengths, seconds: float) -> str:
    """The note for an MP3 of which only `seconds` could be read."""
    return (
        f"holds {mp3.frames:.2f} s by its frames, of which {seconds:.2f} s were read: it is several MP3s in a row, or of "
        "variable bit rate without a header that tells its length"
    )


def chain_note(chain: float, seconds: float) -> str:
    """The note for an Ogg file of which only `seconds` could be read."""
    return f"holds {chain:.2f} s, of which {seconds:.2f} s were read: it is several Ogg files in a row"


def unread(path: str, samples: int) -> str:
    """A note on a 16 kHz MP3 or Ogg file if the `samples` that `read_audio` returns are not all of it; else ""."""
    chain, mp3 = _chained_seconds(path), _mp3_lengths(path)
    if chain is not None and _lacks(samples / SAMPLE_RATE, chain):
        return f"{chain_note(chain, samples / SAMPLE_RATE)}; --convert-to takes all of it"
    if mp3 is None or not _lacks(samples / SAMPLE_RATE, mp3.frames):
        return ""
    return f"{mp3_note(mp3, samples / SAMPLE_RATE)}; --convert-to takes all of it"


def _mp3_lengths(source: str) -> Mp3Lengths | None:
    if not source.lower().endswith(MP3_SUFFIXES):
        return None
    try:
        return mp3_lengths(source)
    except (OSError, ValueError) as error:
        raise AudioError(f"{source}: cannot be read ({error}); check the file") from error


def _chained_seconds(source: str) -> float | None:
    if not source.lower().endswith(OGG_SUFFIXES):
        return None
    try:
        return chained_seconds(source)
    except (OSError, ValueError) as error:
        raise AudioError(f"{source}: cannot be read ({error}); check the file") from error


def _check_whole(source: str, seconds: float, promised: float | None) -> None:
    if promised is not None and _lacks(seconds, promised):
        raise AudioError(
            f"{source}: is cut off: {promised - seconds:.2f} s of its {promised:.2f} s are missing; replace the file"
        )


def _lacks(seconds: float, wanted: float) -> bool:
    return wanted - seconds > max(TOLERANCE_SECONDS, TOLERANCE_FRACTION * wanted)


def _note_of_channels(source: str, contents: Contents, channel: int | None) -> str:
    """How much is lost in the mean of the channels, or "". AudioError: nearly everything, or there is no such channel."""
    count = len(contents.powers)
    if channel is not None:
        if count > 1 and channel > count:
            raise AudioError(
                f"{source}: has {count} channels, so there is no channel {channel}; choose another (--channel)"
            )
        return ""
    unrelated = sum(contents.powers) / count**2
    if count == 1 or unrelated < SILENT or contents.power_of_mean > PARTLY_CANCELLED * unrelated:
        return ""
    lost = 10 * math.log10(max(contents.powers) / max(contents.power_of_mean, 1e-12))
    problem = f"its channels cancel each other: their mean is {lost:.0f} dB below the loudest one"
    if contents.power_of_mean < CANCELLED * unrelated:
        raise AudioError(f"{source}: {problem}; take one of them (--channel left, right, or 1 to {count})")
    return f"{problem}; --channel takes one of them"


def _sox(source: str, target: str, channel: int | None = None, comment: str = "") -> str:
    """Write 16 kHz mono FLAC, or the whole source as .wav -> the complaint of sox, or ""."""
    if shutil.which("sox") is None:
        raise AudioError("the sox program is missing; install it: apt install sox")
    import sox  # looks for the program as soon as it is imported

    logging.getLogger("sox").setLevel(logging.CRITICAL)  # its errors are returned instead
    transformer = sox.Transformer()
    transformer.globals = [*transformer.globals, "--no-glob"]  # do not take a name like a[1].wav as a pattern
    if target.endswith(".flac"):
        transformer.set_output_format(
            file_type="flac", rate=SAMPLE_RATE, channels=1, bits=16, comments=comment, append_comments=False
        )
        if channel is not None:
            transformer.remix({1: [channel]})
    try:
        transformer.build(os.path.abspath(source), os.path.abspath(target))
    except (sox.SoxError, sox.core.SoxiError, OSError, ValueError) as error:
        lines = [line.strip() for line in str(error).splitlines() if line.strip()]
        return lines[-1] if lines else type(error).__name__
    return ""
