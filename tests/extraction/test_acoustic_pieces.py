"""Acoustic pieces: what is learnt, the piece of each frame, and a writing that is interrupted."""

import json

import numpy as np
import pytest

from spin_fairseq.errors import ConfigError, PiecesError
from spin_fairseq.extraction import acoustic_pieces
from spin_fairseq.extraction.acoustic_pieces import MOST_CODES, as_text, write_pieces
from spin_fairseq.extraction.unit_files import read_runs
from spin_fairseq.speech.acoustic_pieces import AcousticPieces, number_of_classes
from tests.oracles import pieces_oracle

tokenizers = pytest.importorskip("tokenizers", reason="comes with the extra pieces")
CODES = 12


def some_units(rng, rows, codes=CODES):
    """Rows of units with repeats, some sequences more frequent than others."""
    following = rng.integers(0, codes, (codes, 3))
    result = []
    for _ in range(rows):
        units = [int(rng.integers(codes))]
        for _ in range(int(rng.integers(5, 60))):
            units += [int(following[units[-1], min(2, rng.geometric(0.6) - 1)])] * int(rng.integers(1, 4))
        result.append(units)
    return result


def write_km(path, rows, start=0):
    path.write_text("".join(" ".join(map(str, row)) + "\n" for row in rows))
    path.with_suffix(".ids").write_text("".join(f"u{start + i}\n" for i in range(len(rows))))
    return path


def write_jsonl(path, rows):
    lines = []
    for i, row in enumerate(rows):
        units, durations = zip(*pieces_oracle.without_repeats(row))
        lines.append(json.dumps({"id": f"u{i}", "units": units, "durations": durations}) + "\n")
    path.write_text("".join(lines))
    return path


def stored_frames(folder, split):
    """-> the piece of each frame of each row, as tuples of units."""
    settings = json.loads((folder / "pieces.json").read_text())
    vocabulary = tokenizers.Tokenizer.from_file(str(folder / "tokenizer.json")).get_vocab()
    units_of = {piece: tuple(ord(letter) - 0xF0000 for letter in text) for text, piece in vocabulary.items()}
    lengths = [int(line) for line in (folder / f"{split}.len").read_text().split()]
    flat = [units_of[piece] for piece in np.fromfile(folder / f"{split}.bin", settings["dtype"]).tolist()]
    ends = np.cumsum(lengths)
    assert len(flat) == ends[-1]
    return [flat[end - length : end] for end, length in zip(ends, lengths)]


def merges_of(folder):
    model = json.loads((folder / "tokenizer.json").read_text())["model"]
    pairs = [pair.split(" ") if isinstance(pair, str) else pair for pair in model["merges"]]
    return [tuple(tuple(ord(letter) - 0xF0000 for letter in piece) for piece in pair) for pair in pairs]


@pytest.mark.parametrize("seed", range(3))
def test_merges_and_frames_are_the_oracles(tmp_path, seed):
    """Guards against merges that are not the most frequent, and frames that belong to a piece's neighbour."""
    rows = some_units(np.random.default_rng(seed), 30)
    write_pieces([write_km(tmp_path / "train.km", rows)], tmp_path / "out", vocabulary=CODES + 25, codes=CODES)
    merges = merges_of(tmp_path / "out")
    assert len(merges) == 25
    learning = pieces_oracle.learn([[unit for unit, _ in pieces_oracle.without_repeats(row)] for row in rows], 25)
    best, _ = next(learning)
    for number, pair in enumerate(merges):
        assert pair in best
        if number + 1 < len(merges):
            best, _ = learning.send(pair)
    assert stored_frames(tmp_path / "out", "train") == [pieces_oracle.frames(row, merges) for row in rows]


def test_km_and_jsonl_are_alike(tmp_path):
    rows = some_units(np.random.default_rng(0), 20)
    for form in (write_km(tmp_path / "a.km", rows), write_jsonl(tmp_path / "a.jsonl", rows)):
        found = list(read_runs(form))
        for (_, units, durations), row in zip(found, rows, strict=True):
            assert list(zip(units.tolist(), durations.tolist())) == pieces_oracle.without_repeats(row)
        assert (
            [name for name, _, _ in found][18:] == [name for name, _, _ in read_runs(form, skip=18)] == ["u18", "u19"]
        )


def test_every_code_has_a_character():
    """Guards against codes that share one, and against more codes than a plane has."""
    codes = np.array([0, 1, 6400, 65533, 65534, MOST_CODES - 1])
    text = as_text(codes)
    assert len(set(text)) == len(text) == len(codes) and ord(text[3]) == 0xFFFFD and ord(text[-1]) == 0x10FFFD
    assert all(not (ord(letter) & 0xFFFE) == 0xFFFE for letter in text)  # those are no characters


def test_only_pieces_in_use_are_classes(tmp_path):
    """Guards against a layer with a class for each piece that was asked for, most of which never occur."""
    rng = np.random.default_rng(1)
    train, dev = some_units(rng, 40), [[0, 0, 1, 5, 9, 11, 3, 3, 2, 4, 7, 6, 8, 10]]
    train = [[unit for unit in row if unit != 11] for row in train]
    files = [write_km(tmp_path / "train.km", train), write_km(tmp_path / "dev.km", dev)]
    settings = write_pieces(files, tmp_path / "out", vocabulary=5000, codes=CODES)
    used = {piece for row in stored_frames(tmp_path / "out", "train") for piece in row}
    assert (
        settings["used"] == sorted(settings["used"]) and len(settings["used"]) == len(used) < settings["learnt"] < 5000
    )
    assert number_of_classes(tmp_path / "out") == len(used)
    pieces = AcousticPieces(tmp_path / "out", "dev")
    targets = pieces.targets(0, 0, 100)
    unused = [piece not in used for piece in stored_frames(tmp_path / "out", "dev")[0]]
    assert (targets == -100).tolist() == unused and any(unused) and targets.max() < pieces.classes


def test_a_stopped_writing_goes_on(tmp_path, monkeypatch):
    """Guards against rows that are missing or there twice after a kill, and against another tokenizer."""
    rows = some_units(np.random.default_rng(2), 25)
    files = [write_km(tmp_path / "train.km", rows), write_km(tmp_path / "dev.km", rows[:7])]
    whole = write_pieces(files, tmp_path / "whole", vocabulary=40)
    monkeypatch.setattr(acoustic_pieces, "BLOCK", 4)

    def stop_at(count):
        done = []

        def progress(split, rows):
            done.append(rows)
            if len(done) == count:
                raise KeyboardInterrupt

        return progress

    for count in (3, 2, 5):
        with pytest.raises(KeyboardInterrupt):
            write_pieces(files, tmp_path / "out", vocabulary=40, progress=stop_at(count))
        assert not (tmp_path / "out" / "train.bin").exists()
        with pytest.raises(PiecesError, match="is not finished"):
            number_of_classes(tmp_path / "out")
    assert write_pieces(files, tmp_path / "out", vocabulary=40) == whole
    names = sorted(file.name for file in (tmp_path / "whole").iterdir())
    assert names == sorted(file.name for file in (tmp_path / "out").iterdir()) and len(names) == 10
    for name in names:
        assert (tmp_path / "out" / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()
    stamp = (tmp_path / "out" / "train.bin").stat().st_mtime_ns
    write_pieces(files, tmp_path / "out", vocabulary=40)
    assert (tmp_path / "out" / "train.bin").stat().st_mtime_ns == stamp
    with pytest.raises(ConfigError, match="learnt otherwise .vocabulary.; --overwrite"):
        write_pieces(files, tmp_path / "out", vocabulary=41)


def test_learning_takes_a_sample(tmp_path, monkeypatch):
    """Guards against all rows of a large corpus in memory."""
    seen = []
    trainer = tokenizers.Tokenizer.train_from_iterator
    monkeypatch.setattr(
        tokenizers.Tokenizer,
        "train_from_iterator",
        lambda self, rows, t: seen.append(list(rows)) or trainer(self, rows, t),
    )
    rows = some_units(np.random.default_rng(3), 200)
    file = write_km(tmp_path / "train.km", rows)
    for seed in (0, 0, 1):
        acoustic_pieces.learn(file, 60, None, 20, seed)
    everything = {as_text(units) for _, units, _ in read_runs(file)}
    assert all(len(sample) == 20 and set(sample) <= everything for sample in seen)
    assert seen[0] == seen[1] != seen[2]
    assert len(set(seen[0]) - {as_text(units) for _, units, _ in list(read_runs(file))[:20]}) > 10


@pytest.mark.parametrize(
    "content, ids, message",
    [
        ("1 2 x\n", "a\n", "line 1: is not a row of units"), ("1 -2\n", "a\n", "line 1: is not a row"),
        ("1 2\n\n", "a\nb\n", "line 2: is not a row"), ("1 2\n", "a\nb\n", "different numbers of rows"),
        ("1 2\n3 4\n", "a\n", "different numbers of rows"), ("", "", "has no rows"),
        ("1 2 " * 600 + "\n", "a\n", "without --deduplicate"), ("1 1 200000\n", "a\n", "has the unit 200000"),
    ],
)  # fmt: skip
def test_malformed_units_are_named(tmp_path, content, ids, message):
    (tmp_path / "train.km").write_text(content)
    (tmp_path / "train.ids").write_text(ids)
    with pytest.raises(PiecesError, match=message):
        write_pieces([tmp_path / "train.km"], tmp_path / "out", vocabulary=50)


def test_other_bad_input(tmp_path):
    file = write_km(tmp_path / "train.km", some_units(np.random.default_rng(0), 5))
    with pytest.raises(PiecesError, match="gone.km: no such file"):
        write_pieces([tmp_path / "gone.km"], tmp_path / "out")
    with pytest.raises(ConfigError, match="--vocabulary is 3: it must be above"):
        write_pieces([file], tmp_path / "out", vocabulary=3)
    with pytest.raises(PiecesError, match="know the units 0..4; --codes"):
        write_pieces([file], tmp_path / "out", codes=5)
    (tmp_path / "dev.jsonl").write_text('{"id": "a", "units": [1, 2], "durations": [1]}\n')
    with pytest.raises(PiecesError, match="dev.jsonl, line 1"):
        write_pieces([file, tmp_path / "dev.jsonl"], tmp_path / "out", vocabulary=40)
    with pytest.raises(PiecesError, match="know the units"):
        write_pieces([file, write_km(tmp_path / "test.km", [[1, 1, 40]])], tmp_path / "out", vocabulary=40)
