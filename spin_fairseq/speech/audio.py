"""Decode audio, and reject what training cannot use.

Everything downstream takes 16 kHz mono. A file at another rate, or with several channels, is an error here: resampling on
the fly would cost in every epoch what `spin-fairseq prepare --convert-to` costs once.
"""

from __future__ import annotations

import io
import os
from contextlib import contextmanager
from pathlib import Path
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import soundfile

from spin_fairseq.speech.archives import PACK_AGAIN, read_slice, slice_of
from spin_fairseq.errors import AudioError
from spin_fairseq.sample_rate import SAMPLE_RATE as SAMPLE_RATE

SHORTEST = 400  # samples (25 ms): the receptive field of one frame of HuBERT or WavLM
CONVERT = "convert the folder: spin-fairseq prepare FOLDER --out DATA --split SPLIT --convert-to NEW_FOLDER"
REPLACE = "replace the file, or prepare the manifest again, which leaves it out"
# Formats that soundfile does not know, by their first bytes: (position, bytes) -> name.
OTHER_FORMATS = {
    (4, b"ftyp"): "MP4 (M4A)", (0, b"\x1aE\xdf\xa3"): "WebM or Matroska", (0, b"0&\xb2u"): "WMA", (0, b"#!AMR"): "AMR",
    (0, b"wvpk"): "WavPack", (0, b"\xff\xf1"): "AAC", (0, b"\xff\xf9"): "AAC",
}  # fmt: skip
UNKNOWN_LENGTH = 1 << 48  # samples; libsndfile reports about 2**63 for a FLAC stream whose header has no length


def read_audio(
    path: str | Path, *, sample_rate: int = SAMPLE_RATE, start: int = 0, frames: int = -1, expected: int | None = None
) -> np.ndarray:
    """Decode a mono file, or a part of it.

    path: any file that soundfile can read, or one inside an archive: `archive.zip:offset:length` (see `archives`).
    sample_rate: the rate that the file must have, in Hz.
    start: the first sample to return.
    frames: how many samples to return; -1: all that follow.
    expected: samples that the whole file must have, according to its manifest; None: any number.
    Returns (T,) float32.
    Raises AudioError: the file is missing, unreadable, truncated, empty, at another rate, has several channels, has
    fewer samples than asked for or another number than expected, or contains NaN or infinity.
    """
    with _opened(path) as file:
        length = _checked_length(file, path, sample_rate)
        if expected is not None and length != expected:
            raise AudioError(
                f"{path}: has {length} samples, but its manifest says {expected}: it belongs to another file, "
                "prepare it again"
            )
        asked = length - start if frames < 0 else frames
        if start < 0 or asked < 1 or start + asked > length:
            raise AudioError(
                f"{path}: has {length} samples, but samples {start} to {start + max(asked, 0)} are asked for; "
                "the manifest does not belong to this file: prepare it again"
            )
        if start:
            file.seek(start)
        wave = file.read(asked, dtype="float32")
    if len(wave) < asked:
        raise AudioError(f"{path}: is cut off: {len(wave)} samples instead of {asked}; {REPLACE}")
    # If a sample is NaN or infinite, so is the sum, which is several times faster than testing each sample.
    with np.errstate(over="ignore", invalid="ignore"):
        suspicious = not np.isfinite(wave.sum())
    if suspicious and not np.isfinite(wave).all():
        raise AudioError(f"{path}: has samples that are NaN or infinite; {REPLACE}")
    return wave


def read_utterance(manifest: Any, index: int, *, start: int = 0, frames: int = -1) -> np.ndarray:
    """Decode an utterance of a manifest, or a part of it. Training, extraction and evaluation read audio only through this.

    manifest: has `path(index)` and `sizes`, as `Manifest` has.
    start, frames: as in `read_audio`.
    Returns (T,) float32, 16 kHz.
    Raises AudioError: as `read_audio`; also if the file has another number of samples than the manifest says.
    """
    return read_audio(manifest.path(index), start=start, frames=frames, expected=int(manifest.sizes[index]))


def read_first_channel(
    path: str | Path, segment: Callable[[int, int], tuple[int, int]] = lambda length, rate: (0, length)
) -> tuple[np.ndarray, int]:
    """The first channel of a file at any rate, or a segment of it.

    path: as of `read_audio`.
    segment: (samples of the file, its rate in Hz) -> the first sample, and how many.
    Returns (T,) float32, and the sample rate in Hz.
    Raises AudioError: the file is missing, unreadable, cut off, empty, or holds NaN or infinity.
    """
    with _opened(path) as file:
        start, frames = segment(_checked_length(file, path), file.samplerate)
        file.seek(start)
        wave = np.ascontiguousarray(file.read(frames, dtype="float32", always_2d=True)[:, 0])
        rate = file.samplerate
    if len(wave) < frames:
        raise AudioError(f"{path}: is cut off: {len(wave)} samples instead of {frames}; {REPLACE}")
    if not np.isfinite(wave).all():
        raise AudioError(f"{path}: has samples that are NaN or infinite; {REPLACE}")
    return wave, rate


def usable_samples(path: str | Path) -> int:
    """Number of samples of a file that `read_audio` accepts, by its header alone.

    Raises AudioError: the file is missing, unreadable, visibly truncated, too short for a frame, at another rate, or
    has several channels.
    """
    with _opened(path) as file:
        samples = _checked_length(file, path, SAMPLE_RATE)
    check_long_enough(path, samples)
    return samples


def check_long_enough(path: str | Path, samples: int) -> None:
    """Raises AudioError if the audio is shorter than one frame."""
    if samples < SHORTEST:
        raise AudioError(
            f"{path}: has {samples} samples, less than one frame ({SHORTEST} samples, 25 ms); leave it out"
        )


def audio_info(path: str | Path) -> tuple[int, int, int]:
    """-> (samples, sample rate in Hz, channels), by the header alone.

    Raises AudioError: the file is missing, unreadable, visibly truncated, or empty.
    """
    with _opened(path) as file:
        return _checked_length(file, path), file.samplerate, file.channels


@contextmanager
def _opened(path: str | Path) -> Iterator[soundfile.SoundFile]:
    """Open the file; errors of soundfile on opening or reading it become an AudioError."""
    try:
        with soundfile.SoundFile(_content(path)) as file:
            yield file
    except (soundfile.SoundFileError, OSError, TypeError, ValueError, UnicodeError) as error:
        raise AudioError(f"{path}: {_complaint(path, error)}") from error


def _content(path: str | Path) -> bytes | io.BytesIO:
    """What soundfile is given to open. A file whose name only looks like a position in an archive is read as a file."""
    part = slice_of(path)
    if part is None:
        if not os.path.isfile(path):  # opening a pipe would wait for a writer
            raise OSError("not a file")
        return os.fsencode(path)  # bytes, since soundfile cannot encode a name that is not UTF-8
    try:
        return io.BytesIO(read_slice(part))
    except FileNotFoundError:
        return os.fsencode(path)


def _complaint(path: str | Path, error: Exception) -> str:
    """What is wrong with a file, in more words than the "System error" of soundfile."""
    part = slice_of(path)
    if part is not None and not os.path.exists(path):
        if not os.path.exists(part.archive):
            return "no such archive; check the first line of the manifest, which is the root folder"
        if os.path.isdir(part.archive) or not os.access(part.archive, os.R_OK):
            return "the archive is a folder, or may not be read; check its permissions"
        if part.length == 0:
            return f"is an empty file; {REPLACE}"
        return f"what lies there cannot be decoded, is cut off or not audio ({str(error).strip()}); {PACK_AGAIN}"
    if not os.path.exists(path):
        return "no such file; check the first line of the manifest, which is the root folder"
    if os.path.isdir(path):
        return f"is a folder, not an audio file; {REPLACE}"
    if not os.path.isfile(path):
        return f"is a pipe or a device, not an audio file; {REPLACE}"
    if not os.access(path, os.R_OK):
        return "may not be read; check its permissions"
    if os.path.getsize(path) == 0:
        return f"is an empty file; {REPLACE}"
    with open(path, "rb") as file:
        begin = file.read(16)
    for (place, magic), name in OTHER_FORMATS.items():
        if begin[place:].startswith(magic):
            return f"is {name}, which is not read as it is; {CONVERT}"
    return f"cannot be decoded, is cut off or not audio ({str(error).strip()}); {REPLACE}"


def _checked_length(file: soundfile.SoundFile, path: str | Path, sample_rate: int | None = None) -> int:
    """Samples by the header of a mono file at `sample_rate`; None: any rate and number of channels."""
    if sample_rate is not None and file.samplerate != sample_rate:
        raise AudioError(f"{path}: has {file.samplerate} Hz instead of {sample_rate} Hz; {CONVERT}")
    if sample_rate is not None and file.channels != 1:
        raise AudioError(f"{path}: has {file.channels} channels instead of one; {CONVERT}")
    if file.frames >= UNKNOWN_LENGTH:
        raise AudioError(f"{path}: does not say how long it is, as a recorded stream; {CONVERT}")
    if file.frames == 0:
        raise AudioError(f"{path}: has no samples; {REPLACE}")
    # libsndfile silently reduces the count of a truncated WAV, but notes it in its log.
    if file.format in ("WAV", "WAVEX"):
        for line in file.extra_info.splitlines():
            if line.strip().startswith("data ") and "(should be" in line:
                promised = line.split(":", 1)[1].split("(")[0].strip()
                # Larger values come from streams of unknown length
                if promised.isdigit() and 0 < int(promised) < 0x7FFFF000:
                    raise AudioError(
                        f"{path}: is cut off: its header promises {promised} bytes of audio{_there(line)}; {REPLACE}"
                    )
    return file.frames


def _there(log_line: str) -> str:
    there = log_line.split("(should be", 1)[1].strip(" )")
    return f", {there} are there" if there.isdigit() else ""
