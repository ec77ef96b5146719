"""Decode to WAV, by soundfile or ffmpeg, what sox cannot read; and inspect audio before it is converted."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from typing import NamedTuple
from collections.abc import Iterator

import numpy as np
import soundfile

from ..errors import AudioError
from ..speech.audio import UNKNOWN_LENGTH, audio_info

BLOCK = 1 << 20  # samples
# Demuxers that ffmpeg may use: audio containers, but no playlists, which open further files.
CONTAINERS = (
    "aac,ac3,aiff,amr,amrnb,amrwb,ape,asf,au,caf,eac3,flac,gsm,loas,matroska,webm,mov,mp4,m4a,3gp,3g2,mp3,ogg,sln,tta,"
    "voc,w64,wav,wv"
)
ONLY_FILES = ("-protocol_whitelist", "file", "-format_whitelist", CONTAINERS)
INSTALL_FFMPEG = "install ffmpeg (apt install ffmpeg) and run again, or convert it to WAV"


class Contents(NamedTuple):
    """What a file holds, as decoded and not as its header claims."""

    seconds: float
    promised: float  # seconds, according to the header
    powers: tuple[float, ...]  # mean square of each channel
    power_of_mean: float  # of the mean of the channels


def contents_of(source: str) -> Contents | None:
    """Read a whole file; None: soundfile does not know the format, or the length.

    Raises AudioError: the file is missing, truncated, empty, cannot be decoded, or contains NaN or infinity.
    """
    if not os.path.isfile(source) or os.path.getsize(source) == 0:
        audio_info(source)  # raises what is wrong; opening a pipe would wait for a writer
    try:
        frames = soundfile.info(os.fsencode(source)).frames
    except (soundfile.SoundFileError, OSError, ValueError, TypeError):
        return None
    if frames >= UNKNOWN_LENGTH:
        return None
    promised, sample_rate, channels = audio_info(source)
    samples, powers, power_of_mean = 0, np.zeros(channels), 0.0
    with _decoding(source), soundfile.SoundFile(os.fsencode(source)) as file:
        for block in blocks_of(file):
            if not np.isfinite(block).all():  # sox would turn NaN into silence and infinity into full scale
                raise AudioError(f"{source}: has samples that are NaN or infinite; replace the file")
            samples += len(block)
            if channels > 1:
                powers += np.square(block, dtype=np.float64).sum(0)
                power_of_mean += float(np.square(block.mean(1), dtype=np.float64).sum())
    count = max(samples, 1)
    return Contents(samples / sample_rate, promised / sample_rate, tuple(powers / count), power_of_mean / count)


def blocks_of(file: soundfile.SoundFile) -> Iterator[np.ndarray]:
    """Blocks of (N, channels) float32 until the file ends. `SoundFile.blocks` trusts the length in the header, and where the
    file is shorter it returns what was left in its buffer."""
    while True:
        block = file.read(BLOCK, dtype="float32", always_2d=True)
        if not len(block):
            return
        yield block


def decode_by_soundfile(source: str, target: str) -> None:
    """Write all channels as WAV. Raises AudioError."""
    with _decoding(source), soundfile.SoundFile(os.fsencode(source)) as file:
        form = "RF64" if file.frames * file.channels * 3 > 1 << 31 else "WAV"
        with soundfile.SoundFile(target, "w", file.samplerate, file.channels, "PCM_24", format=form) as out:
            for block in blocks_of(file):
                out.write(block)


def decode_by_ffmpeg(source: str, target: str) -> float | None:
    """Write all channels of the first audio stream as WAV -> the duration in seconds by the container, or None.

    Raises AudioError: ffmpeg is not installed, or cannot decode the file.
    """
    if shutil.which("ffmpeg") is None:
        raise AudioError(f"{source}: neither soundfile nor sox can decode it; {INSTALL_FFMPEG}")
    place = "file:" + os.path.abspath(source)
    words = ["ffmpeg", "-nostdin", "-v", "error", *ONLY_FILES, "-i", place, "-map", "0:a:0", "-c:a", "pcm_s24le"]
    done = subprocess.run([*words, "-f", "wav", "-y", "file:" + target], capture_output=True)
    if done.returncode or not os.path.exists(target) or not soundfile.info(target).frames:
        why = _last_line(done.stderr).replace(f"{place}: ", "")
        raise AudioError(f"{source}: none of soundfile, sox and ffmpeg can decode it ({why}); replace the file")
    return _seconds_by_ffprobe(place)


def _seconds_by_ffprobe(place: str) -> float | None:
    if shutil.which("ffprobe") is None:
        return None
    words = [
        "ffprobe",
        "-v",
        "error",
        *ONLY_FILES,
        "-select_streams",
        "a:0",
        "-show_entries",
        "stream=duration",
        "-of",
        "json",
    ]
    done = subprocess.run([*words, place], capture_output=True)
    try:
        return float(json.loads(done.stdout)["streams"][0]["duration"])
    except (ValueError, KeyError, IndexError, TypeError):
        return None


def _last_line(text: bytes) -> str:
    lines = [line.strip() for line in text.decode("utf-8", "replace").splitlines() if line.strip()]
    return lines[-1] if lines else "no audio in it"


class _decoding:
    """Turns what soundfile raises into an AudioError that names the file."""

    def __init__(self, source: str):
        self.source = source

    def __enter__(self):
        return self

    def __exit__(self, kind, error, trace):
        if isinstance(error, (soundfile.SoundFileError, OSError, ValueError)):
            raise AudioError(f"{self.source}: cannot be decoded ({str(error).strip()}); replace the file") from error
