"""A packed corpus is the corpus: the same bytes, ids, speakers, labels and marks."""

import json
import os
import shutil
import subprocess
import tarfile
import zipfile
from contextlib import nullcontext

import numpy as np
import pytest
import soundfile

from spin_fairseq.preparation import packing
from spin_fairseq.preparation.alignments import write_phone_labels
from spin_fairseq.speech.archives import read_slice, slice_of
from spin_fairseq.speech.audio import read_audio
from spin_fairseq.speech.manifest import load_manifest, write_manifest
from spin_fairseq.preparation.packing import pack
from spin_fairseq.speech.archives import members
from spin_fairseq.speech.phone_labels import load_phone_labels
from spin_fairseq.speech.pitch_mark_cache import PitchMarkCache
from spin_fairseq.preparation.pitch_marks import measure_pitch_marks
from spin_fairseq.speech.speaker_pitch import load_speaker_pitch
from spin_fairseq.preparation.speaker_pitch import estimate_speaker_pitch
from spin_fairseq.data.two_view_dataset import TwoViewDataset
from spin_fairseq.errors import AudioError, ManifestError
from spin_fairseq.perturbation import build_backend


PHONE_TIER = """item []:
    item [1]:
        class = "IntervalTier"
        name = "phones"
        xmin = 0
        xmax = 9
        intervals: size = 1
        intervals [1]:
            xmin = 0
            xmax = 9
            text = "AH0"
"""


@pytest.fixture
def data(speech_folder, tmp_path):
    """A copy of the synthetic speech, which may be changed."""
    shutil.copytree(speech_folder.data, tmp_path / "data")
    for split in ("train", "dev"):
        lines = (tmp_path / "data" / f"{split}.tsv").read_text().splitlines()
        (tmp_path / "data" / f"{split}.tsv").write_text("\n".join(["audio", *lines[1:]]) + "\n")
    return tmp_path / "data"


def contents(manifest):
    return [read_slice(slice_of(manifest.path(i))) for i in range(len(manifest))]


def described(manifest):
    return [
        (manifest.name(i), manifest.utterance_id(i), manifest.speaker(i), int(manifest.sizes[i]))
        for i in range(len(manifest))
    ]


@pytest.mark.parametrize("form", ["zip", "tar"])
def test_packing_changes_nothing_but_the_place(data, tmp_path, form):
    plain = load_manifest(data, "train")
    out = tmp_path / "out"
    told = []
    report = pack(plain, out, form=form, largest=100_000, progress=lambda done, total: told.append((done, total)))
    packed = load_manifest(out, "train")
    assert described(packed) == described(plain) and packed.speakers() == plain.speakers()
    for i, content in enumerate(contents(packed)):
        with open(plain.path(i), "rb") as file:
            assert content == file.read()
        assert np.array_equal(read_audio(packed.path(i)), read_audio(plain.path(i)))
    archives = sorted(path.name for path in out.iterdir() if path.suffix == f".{form}")
    assert len(archives) > 2 and archives[0] == f"train-00000.{form}"
    assert sorted(os.listdir(out)) == sorted([*archives, "train.tsv"])
    assert report.archives == len(archives) and report.bytes == sum(done for done, _ in told) == sum(
        map(len, contents(packed))
    )
    assert {total for _, total in told} == {report.bytes}
    assert all(
        sum(m.length for m in members(out / name)) <= 100_000 or len(members(out / name)) == 1 for name in archives
    )


def test_any_tool_unpacks_the_archives(data, tmp_path):
    plain = load_manifest(data, "dev")
    for form in ("zip", "tar"):
        pack(plain, tmp_path / form, form=form)
        shutil.unpack_archive(tmp_path / form / f"dev-00000.{form}", tmp_path / f"un{form}")
        for i in range(len(plain)):
            with open(plain.path(i), "rb") as a, open(tmp_path / f"un{form}" / plain.name(i), "rb") as b:
                assert a.read() == b.read()


def test_names_of_all_kinds(tmp_path):
    """Not UTF-8, long, above the root, absolute, twice; the third column; an archive's offsets in a member's own header."""
    names = [
        "é ü.wav",
        os.fsdecode(b"caf\xe9-1.wav"),
        "x" * 120 + "/" + "y" * 120 + ".wav",
        "../up.wav",
        "a:1:2",
        "é ü.wav",
    ]
    names.append(str(tmp_path / "else" / "abs-1.wav"))
    root = tmp_path / "root"
    rng = np.random.default_rng(0)
    for name in set(names):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        soundfile.write(os.fsencode(root / name), 0.1 * rng.standard_normal(500), 16000, format="WAV")
    rows = [(name, 500, "anna") if number % 2 else (name, 500) for number, name in enumerate(names)]
    write_manifest(tmp_path / "s.tsv", root, rows)
    plain = load_manifest(tmp_path, "s")
    for form in ("zip", "tar"):
        with pytest.warns(UserWarning, match="Duplicate name") if form == "zip" else nullcontext():
            pack(plain, tmp_path / form, form=form)
        packed = load_manifest(tmp_path / form, "s")
        assert described(packed) == described(plain)
        for i, content in enumerate(contents(packed)):
            with open(os.fsencode(plain.path(i)), "rb") as file:
                assert content == file.read()
        assert not any(m.name.startswith(("/", "..")) for m in members(tmp_path / form / f"s-00000.{form}"))


def test_packing_what_is_packed(data, tmp_path):
    plain = load_manifest(data, "dev")
    pack(plain, tmp_path / "once", form="tar", largest=50_000)
    once = load_manifest(tmp_path / "once", "dev")
    pack(once.select(np.array([3, 1])), tmp_path / "twice")
    twice = load_manifest(tmp_path / "twice", "dev")
    assert described(twice) == [described(plain)[3], described(plain)[1]]
    assert contents(twice) == [contents(once)[3], contents(once)[1]]


def test_reference_list(data, tmp_path):
    plain = load_manifest(data, "dev")
    (data / "listed.json").write_text(json.dumps([[plain.path(i), int(plain.sizes[i])] for i in range(3)]))
    listed = load_manifest(data, "listed")
    pack(listed, tmp_path / "out")
    packed = load_manifest(tmp_path / "out", "listed")
    assert described(packed) == described(listed)
    rows = [[f"{tmp_path}/out/{row[0]}", *row[1:]] for row in packed.rows(range(3))]
    (data / "again.json").write_text(json.dumps(rows))
    again = load_manifest(data, "again")
    assert described(again) == described(packed) and contents(again) == contents(packed)


def test_labels_ranges_and_marks_match(data, tmp_path):
    pack(load_manifest(data, "dev"), tmp_path / "out")
    plain, packed = load_manifest(data, "dev"), load_manifest(tmp_path / "out", "dev")
    phones = load_phone_labels(data / "phones", "dev")
    assert all(packed.utterance_id(i) in phones for i in range(len(packed)))

    ranges = [estimate_speaker_pitch([m], files_per_speaker=2, seed=0, workers=1)[0] for m in (plain, packed)]
    assert [r.row() for r in ranges[0]] == [r.row() for r in ranges[1]]

    no_table = load_speaker_pitch(None)
    for first, second, folder in ((plain, packed, "a"), (packed, plain, "b")):  # measured on one, used with the other
        (tmp_path / folder).mkdir()
        measure_pitch_marks(first, no_table, tmp_path / folder, workers=1)
        cache = PitchMarkCache.open(tmp_path / folder, "dev")
        assert cache.survey(second, no_table.range) == {"found": len(plain)}
        assert all(cache.lookup(second, i, None) is not None for i in range(len(plain)))
        assert measure_pitch_marks(second, no_table, tmp_path / folder, workers=1).kept == len(plain)
    assert (tmp_path / "a" / "dev.marks").read_bytes() == (tmp_path / "b" / "dev.marks").read_bytes()


def test_the_dataset_gives_the_same_views(data, tmp_path):
    pack(load_manifest(data, "train"), tmp_path / "out", form="tar")
    options = {"pitch": load_speaker_pitch(None), "backend": build_backend("native"), "seed": 7, "train": True}
    first, second = (
        TwoViewDataset(load_manifest(folder, "train"), **options, min_samples=800, max_samples=12000)
        for folder in (data, tmp_path / "out")
    )
    for index in (0, 5, 11):
        for a, b in zip(first[index]["views"], second[index]["views"]):
            assert np.array_equal(a, b)


def test_a_bad_file_in_an_archive_is_left_out_of_its_batch(data, tmp_path):
    pack(load_manifest(data, "dev"), tmp_path)
    os.truncate(tmp_path / "dev-00000.zip", (tmp_path / "dev-00000.zip").stat().st_size // 2)
    dataset = TwoViewDataset(
        load_manifest(tmp_path, "dev"), pitch=load_speaker_pitch(None), backend=None, seed=1, train=False,
        min_samples=800, max_samples=20000,
    )  # fmt: skip
    batch = dataset.collater([dataset[index] for index in range(6)])
    assert 0 < len(batch["lengths"]) < 6 and all("dev-00000.zip:" in reason for _, reason, *_ in batch["skipped"])
    assert len(batch["skipped"]) + len(batch["lengths"]) == 6


def test_alignments_leave_packed_rows_as_they_are(data, tmp_path):
    pack(load_manifest(data, "dev"), tmp_path / "out")
    before = (tmp_path / "out" / "dev.tsv").read_text().splitlines()
    manifest = load_manifest(data, "dev")
    (tmp_path / "grids").mkdir()
    for i in (1, 4):
        grid = tmp_path / "grids" / f"{manifest.utterance_id(i)}.TextGrid"
        grid.write_text(PHONE_TIER)
    write_phone_labels(tmp_path / "grids", tmp_path / "out", ["dev"], jobs=1)
    assert (tmp_path / "out" / "dev.tsv").read_text().splitlines() == [before[0], before[2], before[5]]


def test_fairseq_reads_the_same_places(data, tmp_path):
    from fairseq.data.audio.audio_utils import parse_path, read_from_stored_zip

    pack(load_manifest(data, "dev"), tmp_path)
    manifest = load_manifest(tmp_path, "dev")
    for i, content in enumerate(contents(manifest)):
        archive, place = parse_path(manifest.path(i))
        assert read_from_stored_zip(archive, *place) == content


# --- again, and what is in the way ------------------------------------------------------------------------------------


def test_goes_on_after_a_stop(data, tmp_path, monkeypatch):
    plain, out = load_manifest(data, "train"), tmp_path / "out"
    pack(plain, tmp_path / "whole", largest=100_000)

    class Killed(BaseException):
        pass

    bytes_done = []

    def stop(done, total):
        bytes_done.append(done)
        if sum(bytes_done) > 150_000:
            raise Killed

    with pytest.raises(Killed):
        pack(plain, out, largest=100_000, progress=stop)
    there = {path.name: path.stat().st_mtime_ns for path in out.iterdir()}
    assert there and "train.tsv" not in there and all(name.endswith(".zip") for name in there)
    assert pack(plain, out, largest=100_000).kept == len(there)
    assert all((out / name).stat().st_mtime_ns == date for name, date in there.items())
    for path in (tmp_path / "whole").glob("*.zip"):
        assert (out / path.name).read_bytes() == path.read_bytes()
    assert described(load_manifest(out, "train")) == described(plain)


def test_a_changed_file_or_another_archive_is_not_taken_for_it(data, tmp_path):
    plain, out = load_manifest(data, "dev"), tmp_path / "out"
    pack(plain, out)
    os.utime(plain.path(2), (10**9, 10**9))
    for change in (lambda: None, lambda: pack(plain.select(np.array([0])), tmp_path / "other")):
        change()
        with pytest.raises(AudioError, match="dev-00000.zip: holds other files .*remove it, or choose another folder"):
            pack(plain, out)
    shutil.copy(tmp_path / "other" / "dev-00000.zip", out)
    with pytest.raises(AudioError, match="holds other files"):
        pack(plain, out)
    (out / "dev-00000.zip").write_bytes(b"RIFF" * 100)
    with pytest.raises(AudioError, match="dev-00000.zip: is no whole zip archive"):
        pack(plain, out)


@pytest.mark.parametrize("form", ["zip", "tar"])
def test_cut_off_archives_are_told(data, tmp_path, form):
    pack(load_manifest(data, "dev"), tmp_path, form=form)
    archive = tmp_path / f"dev-00000.{form}"
    for size in (archive.stat().st_size // 2, 100, 0):
        os.truncate(archive, size)
        if size or form == "zip":  # nothing at all is an empty tar to tarfile before Python 3.12
            with pytest.raises(AudioError, match=f"dev-00000.{form}: is no whole {form} archive"):
                members(archive)


def test_compressed_members_are_refused(tmp_path):
    with zipfile.ZipFile(tmp_path / "a.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("x.wav", b"0" * 1000)
    with pytest.raises(AudioError, match="a.zip: 'x.wav' is compressed or encrypted, so it cannot be read in place"):
        members(tmp_path / "a.zip")
    with tarfile.open(tmp_path / "a.tar", "w:gz") as archive:
        archive.add(tmp_path / "a.zip")
    with pytest.raises(AudioError, match="a.tar: is no whole tar archive"):
        members(tmp_path / "a.tar")


def test_zip_tools_archives_are_read(tmp_path):
    """Info-ZIP writes extra fields into a member's own header that its directory has not."""
    if shutil.which("zip") is None:
        pytest.skip("no zip program")
    (tmp_path / "x.wav").write_bytes(b"hello")
    subprocess.run(["zip", "-0q", "a.zip", "x.wav"], cwd=tmp_path, check=True)
    (found,) = members(tmp_path / "a.zip")
    assert read_slice(slice_of(f"{tmp_path}/a.zip:{found.offset}:{found.length}")) == b"hello"


def test_what_cannot_be_packed_is_told_beforehand(data, tmp_path):
    plain = load_manifest(data, "dev")
    with pytest.raises(ManifestError, match="is the manifest itself"):
        pack(plain, data)
    os.unlink(plain.path(1))
    os.unlink(plain.path(4))
    with pytest.raises(AudioError, match=rf"2 of its 6 files cannot be packed(.|\n)*{plain.path(1)}: No such file"):
        pack(plain, tmp_path / "out")
    (data / "odd.json").write_text(json.dumps([[plain.path(0), 5, "a\tb"]]))
    with pytest.raises(ManifestError, match="tab or line break"):
        pack(load_manifest(data, "odd"), tmp_path / "out")
    assert os.listdir(tmp_path / "out") == []


def test_a_file_that_changes_meanwhile(data, tmp_path, monkeypatch):
    plain = load_manifest(data, "dev")
    found = packing._lengths_and_dates(plain)
    found[0][3] += 1
    monkeypatch.setattr(packing, "_lengths_and_dates", lambda manifest: found)
    with pytest.raises(AudioError, match="has changed meanwhile"):
        pack(plain, tmp_path / "out")
    assert os.listdir(tmp_path / "out") == []
