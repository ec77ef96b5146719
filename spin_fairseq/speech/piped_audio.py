"""Audio that arrives through a pipe, as WAV or as raw samples, is decoded while it arrives: 16 kHz, one channel.

A WAV need not say how long it is: ffmpeg, sox and arecord do not know it while they write into a pipe.
"""

from __future__ import annotations

import logging
import struct
from dataclasses import dataclass
from typing import BinaryIO
from collections.abc import Iterator

import numpy as np

from spin_fairseq.errors import AudioError
from spin_fairseq.speech.audio import SAMPLE_RATE

logger = logging.getLogger(__name__)

ENCODINGS = {"s16le": np.dtype("<i2"), "f32le": np.dtype("<f4")}  # of raw samples, under ffmpeg's names
# (format tag, bits) of a WAV -> its samples. 24 bits have no dtype: they are put together from bytes.
WAV_SAMPLES = {
    (1, 8): np.dtype("u1"), (1, 16): np.dtype("<i2"), (1, 24): np.dtype("V3"), (1, 32): np.dtype("<i4"),
    (3, 32): np.dtype("<f4"), (3, 64): np.dtype("<f8"),
}  # fmt: skip
EXTENSIBLE = 0xFFFE  # the format tag stands further behind
LENGTH_NOT_KNOWN = 0x7FFF0000  # bytes; what writes into a pipe puts a number from here on, or 0, into the header
BYTES_AT_ONCE = 1 << 16
LONGEST_CHUNK = 1 << 24  # bytes of a WAV's header, before its samples
OTHER_FORMATS = {
    b"fLaC": "FLAC", b"OggS": "Ogg", b"ID3": "MP3", b"RIFX": "big-endian WAV", b"FORM": "AIFF", b"caff": "CAF",
    b".snd": "AU", b"\x1aE\xdf\xa3": "WebM or Matroska",
}  # fmt: skip
BY_FFMPEG = "pipe it through ffmpeg: ffmpeg -i FILE -ac 1 -ar 16000 -f wav -"


@dataclass(frozen=True)
class Format:
    """samples: dtype of each; rate: Hz; channels; length: bytes of all samples, or None where it is not known."""

    samples: np.dtype
    rate: int
    channels: int
    length: int | None = None


def piped_audio(
    file: BinaryIO,
    *,
    sample_rate: int | None = None,
    encoding: str = "s16le",
    channels: int = 1,
    channel: int | None = None,
    name: str = "standard input",
) -> Iterator[np.ndarray]:
    """Decode what arrives, piece by piece, without waiting for more than there is.

    file: with `read1`, as `sys.stdin.buffer`. A WAV is known by its header; all else is raw samples.
    sample_rate: of raw samples, Hz; None: only WAV is taken. Another rate than 16 kHz is resampled.
    encoding: of raw samples: s16le or f32le.
    channels: of raw samples, interleaved.
    channel: which one to take, the first is 1; None: their mean.
    name: of the file, in errors.
    Returns (T,) float32 at 16 kHz, of any length.
    Raises AudioError: nothing arrives, it is neither WAV nor known to be raw, the WAV is damaged or in a form that is
    not read, or it has no such channel.
    """
    begin = _read(file, 12)
    if not begin:
        raise AudioError(f"{name}: is empty; whatever writes into the pipe has written nothing")
    for magic, other in OTHER_FORMATS.items():
        if begin.startswith(magic):
            raise AudioError(f"{name}: is {other}; {BY_FFMPEG}")
    if begin[:4] in (b"RIFF", b"RF64") and begin[8:] == b"WAVE":
        found, begin = _wav_header(file, name), b""
        if sample_rate not in (None, found.rate):
            raise AudioError(f"{name}: is WAV at {found.rate} Hz, not {sample_rate} Hz; leave --sample-rate out")
    elif sample_rate is None:
        raise AudioError(f"{name}: has no header of a WAV; say what it is, as --sample-rate 16000, or {BY_FFMPEG}")
    else:
        found = Format(ENCODINGS[encoding], sample_rate, channels)
    if channel is not None and channel > found.channels:
        raise AudioError(f"{name}: has {found.channels} channel(s), there is no channel {channel}; choose another")
    waves = (_one_channel(each, channel) for each in _decoded(file, begin, found, name))
    yield from waves if found.rate == SAMPLE_RATE else _resampled(waves, found.rate)


def _read(file: BinaryIO, size: int) -> bytes:
    """So many bytes, or fewer at the end."""
    found = b""
    while len(found) < size:
        more = file.read1(size - len(found))
        if not more:
            break
        found += more
    return found


def _wav_header(file: BinaryIO, name: str) -> Format:
    """Reads up to the first sample."""
    found = None
    while True:
        head = _read(file, 8)
        if len(head) < 8:
            raise AudioError(f"{name}: is a WAV that ends before its samples; make it again")
        kind, size = head[:4], struct.unpack("<I", head[4:])[0]
        if kind == b"data":
            if found is None:
                raise AudioError(f"{name}: is a WAV that does not say what its samples are; make it again")
            known = 0 < size < LENGTH_NOT_KNOWN
            return Format(found.samples, found.rate, found.channels, size if known else None)
        if size > LONGEST_CHUNK:
            raise AudioError(f"{name}: is a damaged WAV, whose chunk {kind!r} has {size} bytes; make it again")
        content = _read(file, size + size % 2)
        if kind == b"fmt ":
            found = _wav_format(content, name)


def _wav_format(content: bytes, name: str) -> Format:
    if len(content) < 16:
        raise AudioError(f"{name}: is a WAV whose header is cut off; make it again")
    tag, channels, rate, _, _, bits = struct.unpack("<HHIIHH", content[:16])
    if tag == EXTENSIBLE and len(content) >= 26:
        tag = struct.unpack("<H", content[24:26])[0]
    samples = WAV_SAMPLES.get((tag, bits))
    if samples is None:
        raise AudioError(f"{name}: is a WAV of format {tag} with {bits} bits, which is not read; {BY_FFMPEG}")
    if not channels or not rate:
        raise AudioError(f"{name}: is a WAV with {channels} channels at {rate} Hz; make it again")
    return Format(samples, rate, channels)


def _decoded(file: BinaryIO, begin: bytes, found: Format, name: str) -> Iterator[np.ndarray]:
    """(T, channels) float32."""
    width, left, behind = found.samples.itemsize * found.channels, found.length, begin
    while left is None or left > 0:
        data = file.read1(BYTES_AT_ONCE if left is None else min(left, BYTES_AT_ONCE))
        if not data:
            if left is not None:
                logger.warning(f"{name}: ended {left} bytes before the end that its header promises")
            break
        left = None if left is None else left - len(data)
        behind += data
        whole = len(behind) // width * width
        if whole:
            yield _to_float(behind[:whole], found.samples).reshape(-1, found.channels)
            behind = behind[whole:]
    if left is None and len(behind) >= width:  # raw audio that was shorter than the header of a WAV
        whole = len(behind) // width * width
        yield _to_float(behind[:whole], found.samples).reshape(-1, found.channels)


def _to_float(data: bytes, samples: np.dtype) -> np.ndarray:
    """Integers of full scale become -1 to 1."""
    if samples.kind == "V":
        parts = np.frombuffer(data, np.uint8).reshape(-1, 3)
        padded = np.zeros((len(parts), 4), np.uint8)
        padded[:, 1:] = parts
        return padded.view("<i4")[:, 0].astype(np.float32) / 2**31
    array = np.frombuffer(data, samples)
    if samples.kind == "u":
        return (array.astype(np.float32) - 128) / 128
    return array.astype(np.float32) / (2 ** (8 * samples.itemsize - 1) if samples.kind == "i" else 1)


def _one_channel(wave: np.ndarray, channel: int | None) -> np.ndarray:
    return wave.mean(1) if channel is None else wave[:, channel - 1]


def _resampled(waves: Iterator[np.ndarray], rate: int) -> Iterator[np.ndarray]:
    import soxr

    stream = soxr.ResampleStream(rate, SAMPLE_RATE, 1, dtype="float32")
    for wave in waves:
        yield stream.resample_chunk(np.ascontiguousarray(wave))
    yield stream.resample_chunk(np.zeros(0, np.float32), last=True)
