"""Acoustic pieces: byte-pair encoding of units without repeats (R-Spin, Chang and Glass 2024), as targets of frames.

A unit is written as a character of Unicode's private use planes, an utterance as one word, in which frequent sequences of
units become pieces. Each frame then has the piece that its unit is in. Everything is read row by row: what is in memory is
the sample that pieces are learnt on, and a block of rows.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from ..errors import ConfigError, PiecesError
from ..files import write_text
from ..fingerprints import digest_of, file_fingerprint
from ..speech.acoustic_pieces import FORMAT, VERSION, read_settings
from .resumable import ResumableFiles
from .unit_files import read_runs

if TYPE_CHECKING:
    from tokenizers import Tokenizer

PLANES = (range(0xF0000, 0xFFFFE), range(0x100000, 0x10FFFE))  # private use: a character a unit
MOST_CODES = sum(map(len, PLANES))
BLOCK = 2000  # rows that are encoded together
FRAMES_AT_ONCE = 1 << 24  # of which used pieces are counted


def as_text(units: np.ndarray) -> str:
    """(n,) units -> n characters."""
    first, second = PLANES
    points = np.where(units < len(first), first.start + units, second.start - len(first) + units)
    return points.astype("<u4").tobytes().decode("utf-32-le")


def learn(path: str | Path, vocabulary: int, codes: int | None, sample: int, seed: int) -> tuple[Tokenizer, int]:
    """Learn pieces on the rows of a file of units.

    vocabulary: of pieces at most, the units themselves among them; fewer where nothing is left that occurs twice.
    codes: how many units there are; None: up to the largest of the file.
    sample: rows to learn on at most, drawn by the seed.
    Returns a tokenizers.Tokenizer, and the number of codes.
    Raises PiecesError: the file is missing, empty or malformed. ConfigError: there is no room for pieces.
    """
    try:
        from tokenizers import Tokenizer, models, trainers
    except ImportError:
        raise ConfigError('acoustic pieces need tokenizers: pip install "spin_fairseq[pieces]"') from None
    rng, kept, largest = np.random.default_rng(seed), [], -1
    for row, (_, units, _) in enumerate(read_runs(path)):
        largest = max(largest, int(units.max()))
        check_codes(path, largest, MOST_CODES if codes is None else codes)
        place = row if row < sample else int(rng.integers(row + 1))  # reservoir sampling
        if row < sample:
            kept.append(as_text(units))
        elif place < sample:
            kept[place] = as_text(units)
    if not kept:
        raise PiecesError(f"{path}: has no rows; write it again with spin-fairseq units")
    codes = largest + 1 if codes is None else codes
    if vocabulary <= codes:
        raise ConfigError(
            f"--vocabulary is {vocabulary}: it must be above the {codes} units, which are pieces themselves"
        )
    tokenizer = Tokenizer(models.BPE())
    trainer = trainers.BpeTrainer(
        vocab_size=vocabulary, min_frequency=2, special_tokens=[], show_progress=False,
        initial_alphabet=list(as_text(np.arange(codes))),
    )  # fmt: skip
    tokenizer.train_from_iterator(kept, trainer)
    return tokenizer, codes


def check_codes(path: str | Path, largest: int, codes: int) -> None:
    if largest >= codes:
        remedy = "--codes says how many" if codes < MOST_CODES else "take a smaller codebook"
        raise PiecesError(f"{path}: has the unit {largest}, and pieces know the units 0..{codes - 1}; {remedy}")


def frame_pieces(
    tokenizer: Tokenizer, sizes: np.ndarray, rows: list[tuple[str, np.ndarray, np.ndarray]]
) -> Iterator[np.ndarray]:
    """The piece of each frame, an array for each row of `read_runs`.

    sizes: (vocabulary,) units of each piece.
    """
    encodings = tokenizer.encode_batch_fast([as_text(units) for _, units, _ in rows])
    for (_, _, durations), encoding in zip(rows, encodings):
        pieces = np.array(encoding.ids)
        ends = np.cumsum(sizes[pieces])
        yield np.repeat(pieces, np.diff(np.cumsum(durations)[ends - 1], prepend=0))


def piece_sizes(tokenizer: Tokenizer) -> np.ndarray:
    """Units of each piece, by its number."""
    sizes = np.zeros(tokenizer.get_vocab_size(), np.int64)
    for text, piece in tokenizer.get_vocab().items():
        sizes[piece] = len(text)
    return sizes


def write_pieces(
    unit_files: list[str | Path],
    out: str | Path,
    *,
    vocabulary: int = 40_000,
    codes: int | None = None,
    sample: int = 100_000,
    seed: int = 0,
    frame_samples: int = 320,
    progress: Callable[[str, int], object] = lambda split, rows: None,
) -> dict:
    """Learn pieces on the first file of units, and write those of all: a split each, named as the file.

    The folder `out` gets `tokenizer.json`, `pieces.json`, and of each split `.bin`, `.len`, `.ids` and `.json`. Called again
    with the same arguments it goes on where it was stopped, and keeps what is whole.

    frame_samples: samples from one frame of units to the next, at 16 kHz.
    progress: is told how many rows more of a split are done.
    Returns the settings, as in `pieces.json`. Raises PiecesError, ConfigError: among them, `out` has pieces that were
    learnt otherwise.
    """
    out, first = Path(out), Path(unit_files[0])
    settings = {
        "format": FORMAT, "version": VERSION, "vocabulary": vocabulary, "sample": sample, "seed": seed,
        "frame_samples": frame_samples, "asked_codes": codes, "learnt_on": first.stem,
        "fingerprint": digest_of([file_fingerprint(path) for path in _there([first])]),
    }  # fmt: skip
    tokenizer, settings = _learnt(out, settings, first)
    sizes = piece_sizes(tokenizer)
    for path in map(Path, _there(unit_files)):
        _write_split(tokenizer, sizes, path, out, settings, progress)
        if "used" not in settings:
            settings["used"] = _used(out / f"{path.stem}.bin", settings["dtype"], len(sizes))
            write_text(out / "pieces.json", json.dumps(settings) + "\n", PiecesError)
    return settings


def _there(unit_files):
    for path in unit_files:
        if not Path(path).is_file():
            raise PiecesError(f"{path}: no such file; spin-fairseq units writes units")
    return unit_files


def _learnt(out: Path, asked: dict, first: Path):
    """The tokenizer and settings of `out`, learnt now or before."""
    if (out / "pieces.json").exists():
        found = read_settings(out)
        different = [key for key, value in asked.items() if found.get(key) != value]
        if different:
            raise ConfigError(
                f"{out}: has pieces that were learnt otherwise ({', '.join(different)}); --overwrite replaces them, or choose "
                "another --out"
            )
        try:
            from tokenizers import Tokenizer

            return Tokenizer.from_str((out / "tokenizer.json").read_text("utf-8")), found
        except Exception as error:  # tokenizers raises no other
            raise PiecesError(
                f"{out / 'tokenizer.json'}: cannot be read ({error}); --overwrite learns it anew"
            ) from error
    tokenizer, codes = learn(first, asked["vocabulary"], asked["asked_codes"], asked["sample"], asked["seed"])
    dtype = "uint16" if tokenizer.get_vocab_size() <= 1 << 16 else "uint32"
    settings = {**asked, "codes": codes, "learnt": tokenizer.get_vocab_size(), "dtype": dtype}
    write_text(out / "tokenizer.json", tokenizer.to_str(), PiecesError)
    write_text(out / "pieces.json", json.dumps(settings) + "\n", PiecesError)
    return tokenizer, settings


def _write_split(tokenizer, sizes, path: Path, out: Path, settings: dict, progress) -> None:
    record = out / f"{path.stem}.json"
    fingerprint = digest_of([file_fingerprint(path), settings["fingerprint"], settings["vocabulary"], settings["seed"]])
    try:
        if json.loads(record.read_text())["fingerprint"] == fingerprint:
            return
    except (OSError, ValueError, KeyError, TypeError):
        pass
    record.unlink(missing_ok=True)
    paths = {"out": out / f"{path.stem}.bin", "len": out / f"{path.stem}.len", "ids": out / f"{path.stem}.ids"}
    with ResumableFiles(paths, {"split": fingerprint}) as files:
        rows = read_runs(path, skip=files.done)
        progress(path.stem, files.done)
        while block := list(islice(rows, BLOCK)):
            check_codes(path, max(int(units.max()) for _, units, _ in block), settings["codes"])
            found = list(frame_pieces(tokenizer, sizes, block))
            files.append(
                len(block),
                out=b"".join(pieces.astype(settings["dtype"]).tobytes() for pieces in found),
                len="".join(f"{len(pieces)}\n" for pieces in found).encode(),
                ids="".join(name + "\n" for name, _, _ in block).encode("utf-8", "surrogateescape"),
            )
            progress(path.stem, len(block))
        utterances = files.done
        files.finish()
    write_text(record, json.dumps({"fingerprint": fingerprint, "utterances": utterances}) + "\n", PiecesError)


def _used(path: Path, dtype: str, vocabulary: int) -> list[int]:
    """The pieces that occur in a split."""
    counts = np.zeros(vocabulary, np.int64)
    with open(path, "rb") as file:
        while len(pieces := np.fromfile(file, dtype, FRAMES_AT_ONCE)):
            counts += np.bincount(pieces, minlength=vocabulary)
    return np.flatnonzero(counts).tolist()
