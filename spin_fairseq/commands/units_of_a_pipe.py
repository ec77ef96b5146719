"""`spin-fairseq units CHECKPOINT -`: audio through a pipe, units as lines, as they come."""

from __future__ import annotations

import signal
import sys
from contextlib import contextmanager
from collections.abc import Callable, Iterator

from spin_fairseq.threads import settle

from .line import INTERRUPTED
from .parser import UsageError, usable_device
from .values import at_least, channel

# Options of one of the two ways, which the other refuses.
OF_A_PIPE = ("sample_rate", "encoding", "channels", "channel", "chunk_ms", "look_ahead_ms", "left_context_ms", "times")
OF_FILES = ("out", "output", "layer", "format", "overwrite", "batch_seconds", "chunk_seconds", "attention_seconds", "shard",
            "launcher", "shards", "slurm")  # fmt: skip
PIPE_BYTES = 1 << 20  # 33 s of 16 bits at 16 kHz: a recorder need not wait while the model is loaded


def add_arguments(parser) -> None:
    group = parser.add_argument_group("standard input (AUDIO is -)")
    group.add_argument(
        "--sample-rate", type=at_least(1000), metavar="HZ", help="sample rate of raw audio; a WAV has it in its header"
    )
    group.add_argument("--encoding", choices=("s16le", "f32le"), help="samples of raw audio (default s16le)")
    group.add_argument(
        "--channels", type=at_least(1), metavar="N", help="interleaved channels of raw audio (default 1)"
    )
    group.add_argument(
        "--channel", type=channel, metavar="N", help="use one channel: left, right, 1, 2 ... (default: the mean of all)"
    )
    group.add_argument(
        "--chunk-ms", type=float, metavar="MS", help="audio that is turned into units at a time (default 400)"
    )
    group.add_argument(
        "--look-ahead-ms", type=float, metavar="MS", help="audio behind a chunk to wait for (default 400)"
    )
    group.add_argument(
        "--left-context-ms", type=float, metavar="MS", help="audio before a chunk that its frames see (default 2000)"
    )
    group.add_argument("--times", action="store_true", help="begin each line with its time in seconds and a tab; "
                       "with --deduplicate, with the run's begin and end")  # fmt: skip


def check(args) -> None:
    """Raises UsageError where an option is of the other way."""
    piped = args.audio == "-"
    for name in OF_FILES if piped else OF_A_PIPE:
        if getattr(args, name) not in (None, False):
            way = "files, not for standard input" if piped else "standard input (AUDIO is -), not for files"
            raise UsageError(f"--{name.replace('_', '-')} is for {way}")
    if not piped and args.out is None:
        raise UsageError("--out is missing: name the file to write, such as dev.km")


def run(args) -> int | None:
    """Print the units of standard input, until it ends, or Ctrl-C. -> exit status."""
    if sys.stdin is None or sys.stdin.isatty():
        raise UsageError("standard input is no pipe; pipe audio into it: arecord -t raw ... | spin-fairseq units ...")
    _widen(sys.stdin)
    settle()
    device = usable_device(args.device)
    from spin_fairseq.checkpoints import load_spin
    from spin_fairseq.checkpoints.given import encoder_keys
    from spin_fairseq.extraction.streaming import StreamingSpin
    from spin_fairseq.speech.piped_audio import piped_audio

    given = {name: getattr(args, name) for name in ("chunk_ms", "look_ahead_ms", "left_context_ms")}
    stream = StreamingSpin(
        load_spin(args.checkpoint, args.dtype, **encoder_keys(args.encoder)).to(device), codebook=args.codebook,
        **{name: value for name, value in given.items() if value is not None},
    )  # fmt: skip
    lines = Lines(_printed, None if args.deduplicate else stream.chunk, args.times, stream.encoder.frame_seconds)
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


class Lines:
    """Units to lines: of each chunk "5 5 7", or of each run of equal units, when it has ended, "5".

    write: takes a line. chunk: frames; None: runs instead. times: a line begins with the time of its first frame in
    seconds and a tab; that of a run with its begin and its end, which is how Audacity writes labels.
    """

    def __init__(self, write: Callable[[str], None], chunk: int | None, times: bool, frame_seconds: float) -> None:
        self.write, self.chunk, self.times, self.frame_seconds = write, chunk, times, frame_seconds
        self._unit, self._begin, self._frames = None, 0.0, 0  # of the run that may go on

    def add(self, found) -> None:
        """found: StreamedUnits."""
        if self.chunk is not None:
            for begin in range(0, len(found), self.chunk):
                time = f"{found.times[begin].item():.3f}\t" if self.times else ""
                self.write(time + " ".join(map(str, found.units[begin : begin + self.chunk].tolist())))
            return
        for unit, time in zip(found.units.tolist(), found.times.tolist()):
            if unit != self._unit:
                self.end()
                self._unit, self._begin, self._frames = unit, time, 0
            self._frames += 1

    def end(self) -> None:
        """Write the run that went on."""
        if self._unit is not None:
            end = self._begin + self._frames * self.frame_seconds
            times = f"{self._begin:.3f}\t{end:.3f}\t" if self.times else ""
            self.write(f"{times}{self._unit}")
        self._unit = None


def _printed(line: str) -> None:
    print(line, flush=True)


class Stopped:
    """asked: whether Ctrl-C was pressed. reading: whether the program waits for audio, and may be interrupted."""

    asked = reading = False


class Readable:
    """A file with `read1`, which ends when Ctrl-C is pressed."""

    def __init__(self, file, stopped: Stopped) -> None:
        self.file, self.stopped = file, stopped

    def read1(self, size: int) -> bytes:
        self.stopped.reading = True
        try:
            return b"" if self.stopped.asked else self.file.read1(size)
        except KeyboardInterrupt:
            if not self.stopped.asked:
                raise
            return b""
        finally:
            self.stopped.reading = False


@contextmanager
def stopped_between_pieces() -> Iterator[Stopped]:
    """Ctrl-C ends the audio instead of a computation, so that what has been heard is printed; the second one ends it all."""
    stopped = Stopped()

    def ask(number, frame):
        again, stopped.asked = stopped.asked, True
        if again or stopped.reading:
            raise KeyboardInterrupt

    before = signal.signal(signal.SIGINT, ask)
    try:
        yield stopped
    finally:
        signal.signal(signal.SIGINT, before)


def _widen(file) -> None:
    """Let the pipe hold more, where the system can do that."""
    try:
        import fcntl

        fcntl.fcntl(file.fileno(), fcntl.F_SETPIPE_SZ, PIPE_BYTES)
    except (ImportError, AttributeError, OSError, ValueError):
        pass  # no pipe, no Linux, or not allowed
