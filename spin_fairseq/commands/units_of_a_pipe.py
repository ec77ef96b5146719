"""`spin-fairseq units CHECKPOINT -`: audio through a pipe, units as lines, as they come."""

from __future__ import annotations

import sys
from argparse import Namespace

from .line import INTERRUPTED
from .models import loader
from .parser import Parser, UsageError
from .values import at_least, channel

# Options of one of the two ways, which the other refuses.
OF_A_PIPE = ("sample_rate", "encoding", "channels", "channel", "chunk_ms", "look_ahead_ms", "left_context_ms", "times")
OF_FILES = ("out", "output", "layer", "format", "overwrite", "batch_seconds", "chunk_seconds", "attention_seconds", "shard",
            "launcher", "shards", "slurm")  # fmt: skip


def add_arguments(parser: Parser) -> None:
    add = parser.add_argument_group("standard input (AUDIO is -)").add_argument
    add("--sample-rate", type=at_least(1000), metavar="HZ", help="sample rate of raw audio; a WAV has it in its header")
    add("--encoding", choices=("s16le", "f32le"), help="samples of raw audio (default s16le)")
    add("--channels", type=at_least(1), metavar="N", help="interleaved channels of raw audio (default 1)")
    add(
        "--channel", type=channel, metavar="N", help="use one channel: left, right, 1, 2 ... (default: the mean of all)"
    )
    add("--chunk-ms", type=float, metavar="MS", help="audio that is turned into units at a time (default 400)")
    add("--look-ahead-ms", type=float, metavar="MS", help="audio behind a chunk to wait for (default 400)")
    add("--left-context-ms", type=float, metavar="MS", help="audio before a chunk that its frames see (default 2000)")
    add("--times", action="store_true", help="begin each line with its time in seconds and a tab; with --deduplicate, with "
        "the run's begin and end")  # fmt: skip


def check(args: Namespace) -> None:
    """Raises UsageError where an option is of the other way."""
    piped = args.audio == "-"
    for name in OF_FILES if piped else OF_A_PIPE:
        if getattr(args, name) not in (None, False):
            way = "files, not for standard input" if piped else "standard input (AUDIO is -), not for files"
            raise UsageError(f"--{name.replace('_', '-')} is for {way}")
    if not piped and args.out is None:
        raise UsageError("--out is missing: name the file to write, such as dev.km")


def run(args: Namespace) -> int | None:
    """Print the units of standard input, until it ends, or Ctrl-C. -> exit status."""
    check(args)
    if sys.stdin is None or sys.stdin.isatty():
        raise UsageError("standard input is no pipe; pipe audio into it: arecord -t raw ... | spin-fairseq units ...")
    from spin_fairseq.speech.standard_input import Readable, stopped_between_pieces, widen

    widen(sys.stdin)
    model = loader(args, args.checkpoint, tell=False)()
    from spin_fairseq.extraction.streaming import StreamingSpin
    from spin_fairseq.extraction.unit_lines import Lines
    from spin_fairseq.speech.piped_audio import piped_audio

    given = {name: getattr(args, name) for name in ("chunk_ms", "look_ahead_ms", "left_context_ms")}
    given = {name: value for name, value in given.items() if value is not None}
    stream = StreamingSpin(model, codebook=args.codebook, **given)
    chunk = None if args.deduplicate else stream.chunk
    lines = Lines(_printed, chunk, args.times, stream.encoder.frame_seconds)
    with stopped_between_pieces() as stopped:
        pieces = piped_audio(
            Readable(sys.stdin.buffer, stopped), sample_rate=args.sample_rate, encoding=args.encoding or "s16le",
            channels=args.channels or 1, channel=args.channel,
        )  # fmt: skip
        for wave in pieces:
            lines.add(stream.push(wave))
        lines.add(stream.flush())
        lines.end()
    return INTERRUPTED if stopped.asked else None


def _printed(line: str) -> None:
    print(line, flush=True)
