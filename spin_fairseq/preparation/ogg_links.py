"""Measure the length of a chained Ogg file (Vorbis, Opus, FLAC): several files in a row, as recorders and `cat` write them.

Decoders read only the first one, or report only its length. Pages and the unit of their positions: RFC 3533, section 6;
RFC 7845, sections 4 and 5.1; the Vorbis I specification, 4.2.2; RFC 9639, 10.1.
"""

from __future__ import annotations

import mmap

PAGE = 27  # bytes of a page's header, before its table of segments
FIRST = 2  # flag of the first page of a stream


def chained_seconds(path: str) -> float | None:
    """Seconds of all links of a chain; None: not an Ogg file, only one link, or a link of another codec.

    Raises OSError.
    """
    with open(path, "rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
        links = _links(content)
    if len(links) < 2 or None in links:
        return None
    return sum(links)


def _links(content: mmap.mmap) -> list[float | None]:
    """Seconds of each link, by the position of the last page of its first audio stream."""
    links, streams, begun = [], {}, False
    position = content.find(b"OggS") if content[:4] == b"OggS" else -1
    while position >= 0:
        header = content[position : position + PAGE]
        if len(header) < PAGE:
            break
        granule, serial = int.from_bytes(header[6:14], "little", signed=True), header[14:18]
        if header[5] & FIRST:
            if begun:  # all streams of a link begin before any of them continues
                links.append(_seconds(streams))
                streams, begun = {}, False
            body = position + PAGE + header[26]
            streams[serial] = [_clock(content[body : body + 64]), 0]
        else:
            begun = True
            if serial in streams and granule > 0:
                streams[serial][1] = granule
        sizes = content[position + PAGE : position + PAGE + header[26]]
        position = content.find(b"OggS", position + PAGE + header[26] + sum(sizes))
    return [*links, _seconds(streams)]


def _seconds(streams: dict) -> float | None:
    for clock, granule in streams.values():
        if clock is not None:
            rate, skipped = clock
            return max(0, granule - skipped) / rate
    return None


def _clock(packet: bytes) -> tuple[int, int] | None:
    """(positions per second, positions before the audio), from the first packet of a stream; None: another codec."""
    if packet[:7] == b"\x01vorbis":
        rate, skipped = int.from_bytes(packet[12:16], "little"), 0
    elif packet[:8] == b"OpusHead":
        rate, skipped = 48000, int.from_bytes(packet[10:12], "little")
    elif packet[:5] == b"\x7fFLAC":
        rate, skipped = int.from_bytes(packet[27:30], "big") >> 4, 0
    else:
        return None
    return (rate, skipped) if rate else None
