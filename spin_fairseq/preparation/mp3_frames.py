"""Measure the length of an MPEG audio file (MP3, MP2) by counting its frames.

Its header, a Xing or Info frame, gives the length that one encoder wrote. That is wrong for two files in a row and for
a truncated file; and without a header, decoders can only estimate the length of a file of variable bit rate. Frames are
counted here without being decoded. Sizes of frames: ISO/IEC 11172-3, 2.4.2.3, and 13818-3 for the lower sample rates.
"""

from __future__ import annotations

import mmap
from typing import NamedTuple

# kbit/s, by (MPEG 1, layer); MPEG 2 and 2.5 share theirs, and layers II and III there too.
BIT_RATES = {
    (True, 1): (32, 64, 96, 128, 160, 192, 224, 256, 288, 320, 352, 384, 416, 448),
    (True, 2): (32, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320, 384),
    (True, 3): (32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320),
    (False, 1): (32, 48, 56, 64, 80, 96, 112, 128, 144, 160, 176, 192, 224, 256),
    (False, 2): (8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160),
    (False, 3): (8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160),
}
SAMPLE_RATES = {3: (44100, 48000, 32000), 2: (22050, 24000, 16000), 0: (11025, 12000, 8000)}  # by version
LENGTH_FLAG = 1  # in a Xing header: the number of frames is given


class Frame(NamedTuple):
    kind: tuple[int, int, int]  # version, layer, sample rate: the same for all frames of a file
    size: int  # bytes
    samples: int  # of each channel


class Mp3Lengths(NamedTuple):
    """Seconds by counting frames, and by the file's first header, None if it has none."""

    frames: float
    promised: float | None


def mp3_lengths(path: str) -> Mp3Lengths | None:
    """None: no two MPEG audio frames follow each other in the file. Raises OSError."""
    with open(path, "rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
        return _lengths(content)


def _lengths(content: mmap.mmap) -> Mp3Lengths | None:
    position, seconds, promised, kind = 0, 0.0, None, None
    while position < len(content):
        frame = _frame(content, position)
        if frame is None or not _goes_on(content, position, frame, kind):
            position = _next_sync(content, position)
            continue
        if position + frame.size > len(content):
            break  # the last frame is cut off
        frames = _xing_frames(content[position : position + min(frame.size, 200)])
        if frames is None:
            seconds += frame.samples / frame.kind[2]
        elif kind is None and frames:
            promised = frames * frame.samples / frame.kind[2]
        kind = kind or frame.kind
        position += frame.size
    return None if kind is None else Mp3Lengths(seconds, promised)


def _frame(content: mmap.mmap, position: int) -> Frame | None:
    """The frame that begins at `position`, by its four-byte header; None if none does."""
    header = content[position : position + 4]
    if len(header) < 4 or header[0] != 0xFF or header[1] & 0xE0 != 0xE0:
        return None
    version, layer = header[1] >> 3 & 3, 4 - (header[1] >> 1 & 3)
    bit_rate, rate = header[2] >> 4, header[2] >> 2 & 3
    if version == 1 or layer == 4 or bit_rate in (0, 15) or rate == 3:
        return None
    sample_rate = SAMPLE_RATES[version][rate]
    bits = BIT_RATES[version == 3, layer][bit_rate - 1] * 1000
    padding = header[2] >> 1 & 1
    if layer == 1:
        return Frame((version, layer, sample_rate), (12 * bits // sample_rate + padding) * 4, 384)
    samples = 576 if layer == 3 and version != 3 else 1152
    return Frame((version, layer, sample_rate), samples // 8 * bits // sample_rate + padding, samples)


def _goes_on(content: mmap.mmap, position: int, frame: Frame, kind: tuple | None) -> bool:
    """Whether the bytes are a frame and not a coincidence: of the file's kind, or followed by another of the same kind."""
    if kind is not None:
        return frame.kind == kind
    following = _frame(content, position + frame.size)
    return following is not None and following.kind == frame.kind


def _next_sync(content: mmap.mmap, position: int) -> int:
    """Where to continue the search: after an ID3v2 tag, or at the next byte that may begin a frame."""
    tag = content[position : position + 10]
    if tag[:3] == b"ID3" and len(tag) == 10:
        size = 0
        for byte in tag[6:]:
            size = size << 7 | byte & 0x7F
        return position + 10 + size
    found = content.find(b"\xff", position + 1)
    tag = content.find(b"ID3", position + 1, found if found >= 0 else len(content))
    if tag >= 0:
        return tag
    return found if found >= 0 else len(content)


def _xing_frames(frame: bytes) -> int | None:
    """The number of frames given by a Xing, Info or VBRI header, 0 if it gives none; None: this frame holds audio."""
    for name in (b"Xing", b"Info"):
        at = frame.find(name, 4, 60)
        if at >= 0:
            return int.from_bytes(frame[at + 8 : at + 12], "big") if frame[at + 7] & LENGTH_FLAG else 0
    at = frame.find(b"VBRI", 36, 40)
    return int.from_bytes(frame[at + 14 : at + 18], "big") if at >= 0 else None
