import numpy as np
import pytest
import soundfile

from spin_fairseq.speech.manifest import load_manifest
from spin_fairseq.speech.finding import _warn_of_folder
from spin_fairseq.preparation.manifests import find_audio
from spin_fairseq.errors import ManifestError
from tests.prepared import prepare_folders, prepare_librispeech


def save(path, seconds=0.2, sample_rate=16000, channels=1):
    path.parent.mkdir(parents=True, exist_ok=True)
    noise = 0.1 * np.random.default_rng(0).standard_normal((int(seconds * sample_rate), channels))
    soundfile.write(path, noise, sample_rate)
    return path


def cut(path):
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2])


@pytest.fixture
def librispeech(tmp_path):
    """A tree of LibriSpeech's shape, with a broken file, a stereo one and an empty one."""
    root = tmp_path / "corpora" / "LibriSpeech"
    for subset, speakers in (("train-clean-100", (19, 26)), ("dev-clean", (84,)), ("dev-other", (116,))):
        for speaker in speakers:
            for n in range(3):
                save(root / subset / str(speaker) / "7" / f"{speaker}-7-{n:04d}.flac", seconds=0.1 + 0.1 * n)
            (root / subset / str(speaker) / "7" / f"{speaker}-7.trans.txt").write_text("NO AUDIO\n")
    cut(root / "train-clean-100" / "19" / "7" / "19-7-0002.flac")
    save(root / "train-clean-100" / "26" / "7" / "26-7-0003.flac", channels=2)
    (root / "train-clean-100" / "26" / "7" / "26-7-0004.flac").touch()
    (root / "SPEAKERS.TXT").write_text(";ID | SEX\n19 | F | train-clean-100 | 1 | A\n")
    return root


@pytest.mark.parametrize("jobs", [1, 2])
def test_librispeech_tree(librispeech, tmp_path, jobs):
    out = tmp_path / "data"
    splits = {"train": ["train-clean-100"], "dev": ["dev-clean", "dev-other"]}
    report = "\n".join(prepare_librispeech(librispeech.parent, out, splits, jobs=jobs))  # the folder above is found too
    train, dev = load_manifest(out, "train"), load_manifest(out, "dev")
    assert [train.utterance_id(i) for i in range(len(train))] == [
        "19-7-0000",
        "19-7-0001",
        "26-7-0000",
        "26-7-0001",
        "26-7-0002",
    ]
    assert train.path(0) == str(librispeech / "train-clean-100/19/7/19-7-0000.flac")
    assert train.sizes.tolist() == [1600, 3200, 1600, 3200, 4800]
    assert train.speakers() == {"19", "26"} and dev.speakers() == {"84", "116"}
    broken = (out / "train.broken.txt").read_text().splitlines()
    assert [line.split("\t")[0].rsplit("/", 1)[1] for line in broken] == [
        "19-7-0002.flac",
        "26-7-0003.flac",
        "26-7-0004.flac",
    ]
    assert "cut off" in broken[0] and "2 channels" in broken[1] and "empty file" in broken[2]
    assert "left out: 3 files" in report and "train: 5 utterances" in report and "dev: 6 utterances" in report
    assert (out / "SPEAKERS.TXT").read_text() == (librispeech / "SPEAKERS.TXT").read_text()
    assert sorted(file.name for file in out.iterdir()) == ["SPEAKERS.TXT", "dev.tsv", "train.broken.txt", "train.tsv"]


def test_a_later_run_without_broken_files_removes_the_list(librispeech, tmp_path):
    splits = {"train": ["train-clean-100"]}
    prepare_librispeech(librispeech, tmp_path, splits, jobs=1)
    for name in ("19/7/19-7-0002.flac", "26/7/26-7-0003.flac", "26/7/26-7-0004.flac"):
        (librispeech / "train-clean-100" / name).unlink()
    prepare_librispeech(librispeech, tmp_path, splits, jobs=1)
    assert not (tmp_path / "train.broken.txt").exists()


def test_missing_subset_names_those_that_are_there(librispeech, tmp_path):
    with pytest.raises(ManifestError, match="no folder test-clean; there are: dev-clean, dev-other, train-clean-100"):
        prepare_librispeech(librispeech, tmp_path, {"train": ["test-clean"]}, jobs=1)


def test_nothing_usable_writes_no_manifest_but_the_list(tmp_path):
    save(tmp_path / "in" / "a.wav", sample_rate=8000)
    with pytest.raises(ManifestError, match="no usable audio(?s:.*)a.wav: has 8000 Hz.*--convert-to"):
        prepare_folders([tmp_path / "in"], tmp_path / "out", split="train", jobs=1)
    assert [file.name for file in (tmp_path / "out").iterdir()] == ["train.broken.txt"]


def test_find_audio_follows_links_once_and_sees_nothing_hidden(tmp_path):
    save(tmp_path / "a" / "x.WAV")
    save(tmp_path / "a" / ".y.wav")
    save(tmp_path / "elsewhere" / "z.flac")
    save(tmp_path / "a" / "converted" / "x.flac")
    (tmp_path / "a" / "notes.txt").touch()
    (tmp_path / "a" / "link").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "a" / "loop").symlink_to(tmp_path / "a")
    found = find_audio(tmp_path / "a", leave_out=tmp_path / "a" / "converted")
    assert found == [str(tmp_path / "a" / "link" / "z.flac"), str(tmp_path / "a" / "x.WAV")]


def test_names_that_a_manifest_cannot_hold_are_left_out(tmp_path):
    save(tmp_path / "in" / "a\tb.wav")
    save(tmp_path / "in" / "ü - 1.wav")
    report = prepare_folders([tmp_path / "in"], tmp_path / "out", split="train", jobs=1)
    assert load_manifest(tmp_path / "out", "train").utterance_id(0) == "ü - 1"
    assert "rename it" in "\n".join(report)


@pytest.mark.parametrize(
    "rule, speakers",
    [
        ("stem", ["x", "y"]), ("folder", ["anna", "bob"]), ("none", ["unknown", "unknown"]), ("top", ["anna", "bob"]),
        (r"(\w)-1", ["x", "y"]),
    ],
)  # fmt: skip
@pytest.mark.parametrize("convert", [False, True])
def test_speaker_rules(tmp_path, rule, speakers, convert):
    save(tmp_path / "anna" / "x-1.wav")
    save(tmp_path / "more" / "bob" / "y-1.wav")
    folders = [tmp_path / "anna", tmp_path / "more" / "bob"]
    converted = tmp_path / "16k" if convert else None
    prepare_folders(folders, tmp_path / "out", split="train", jobs=1, speaker_from=rule, convert_to=converted)
    manifest = load_manifest(tmp_path / "out", "train")
    assert [manifest.speaker(i) for i in range(2)] == speakers


def test_folder_rule_of_one_folder_that_is_converted(tmp_path):
    save(tmp_path / "anna" / "1.wav")
    prepare_folders(
        [tmp_path / "anna"], tmp_path, split="train", jobs=1, speaker_from="folder", convert_to=tmp_path / "16k"
    )
    assert load_manifest(tmp_path, "train").speaker(0) == "anna"


def test_dev_fraction_divides_by_seed(tmp_path):
    for n in range(20):
        save(tmp_path / "in" / f"{n:02d}.wav", seconds=0.03)

    def split(seed):
        prepare_folders([tmp_path / "in"], tmp_path / "out", split="train", jobs=1, dev_fraction=0.2, seed=seed)
        parts = [load_manifest(tmp_path / "out", part) for part in ("train", "dev")]
        return [[part.utterance_id(i) for i in range(len(part))] for part in parts]

    train, dev = split(1)
    assert len(dev) == 4 and sorted(train + dev) == [f"{n:02d}" for n in range(20)]
    assert split(1) == [train, dev] and split(2) != [train, dev]


def test_repeated_names_are_noted(tmp_path):
    save(tmp_path / "in" / "anna" / "1.wav")
    save(tmp_path / "in" / "bob" / "1.wav")
    report = prepare_folders([tmp_path / "in"], tmp_path / "out", split="train", jobs=1)
    assert "2 files share their name with another; their ids are their paths" in "\n".join(report)


def test_missing_and_empty_folders(tmp_path):
    with pytest.raises(ManifestError, match="no such folder"):
        prepare_folders([tmp_path / "none"], tmp_path, split="train", jobs=1)
    (tmp_path / "empty").mkdir()
    with pytest.raises(ManifestError, match="no audio files"):
        prepare_folders([tmp_path / "empty"], tmp_path, split="train", jobs=1)


@pytest.fixture
def sessions(tmp_path):
    """Two people in two sessions each, all of whose files are called alike."""
    for person in ("anna", "ben"):
        for session in ("session 1", "session 2"):
            save(tmp_path / "in" / person / session / "Aufnahme 01.wav", seconds=0.1 if person == "anna" else 0.2)
    return tmp_path / "in"


@pytest.mark.parametrize(
    "rule, speakers, warning",
    [
        ("top", {"anna", "ben"}, None),
        ("folder", {"session 1", "session 2"}, None),
        (r"/session (\d)/", {"1", "2"}, None),
        (r"^(.*)/Aufnahme", {f"{who}/session {n}" for who in ("anna", "ben") for n in (1, 2)}, "each of the 4 files"),
        ("stem", {"Aufnahme 01"}, "all 4 files are of one speaker"),
        ("none", {"unknown"}, None),
    ],
)
def test_speakers_are_shown_with_their_minutes(sessions, tmp_path, rule, speakers, warning):
    """Five people became one speaker, and nobody was told."""
    report = prepare_folders([sessions], tmp_path, split="train", jobs=1, speaker_from=rule)
    assert load_manifest(tmp_path, "train").speakers() == speakers
    shown = "\n".join(report)
    assert f"{len(speakers)} speaker" in shown and all(name in shown for name in speakers)
    assert ("warning" in shown) == (warning is not None) and (warning or "") in shown


def test_names_that_several_people_use_are_told(sessions, tmp_path):
    save(sessions / "ben" / "session 1" / "Aufnahme 02.wav")
    report = prepare_folders([sessions], tmp_path, split="train", jobs=1)
    assert "1 file names are found in several folders" in report[-1]


@pytest.mark.parametrize(
    "rule, words",
    [
        ("(", "no regular expression"),
        ("anna", "one group"),
        ("(a)(n)", "one group"),
        ("(x)/", "does not match 'anna/session 1"),
        ("(x*)", "an empty speaker"),
    ],
)
def test_rules_that_cannot_be_followed(sessions, tmp_path, rule, words):
    with pytest.raises(ManifestError, match=words):
        prepare_folders([sessions], tmp_path, split="train", jobs=1, speaker_from=rule)
    assert not (tmp_path / "train.tsv").exists()


def test_a_name_that_begins_with_a_dash_has_a_speaker(tmp_path):
    """The speaker was empty, which neither a table of pitch ranges nor a packed manifest can hold."""
    save(tmp_path / "in" / "-x.wav")
    save(tmp_path / "in" / "a-x.wav")
    prepare_folders([tmp_path / "in"], tmp_path, split="train", jobs=1)
    manifest = load_manifest(tmp_path, "train")
    assert [manifest.speaker(i) for i in range(2)] == ["unknown", "a"]


def test_less_than_a_frame_is_left_out(tmp_path):
    save(tmp_path / "in" / "a.wav", seconds=0.02)
    save(tmp_path / "in" / "b.wav", seconds=0.025)
    report = prepare_folders([tmp_path / "in"], tmp_path, split="train", jobs=1)
    assert len(load_manifest(tmp_path, "train")) == 1 and "a.wav: has 320 samples, less than one frame" in "\n".join(
        report
    )


def test_dev_by_speaker(tmp_path):
    """The same people in train and dev make dev look better than new people will be."""
    for n in range(10):
        for take in range(n % 3 + 1):
            save(tmp_path / "in" / f"{n}-{take}.wav", seconds=0.1)

    def split(seed):
        prepare_folders(
            [tmp_path / "in"], tmp_path, split="train", jobs=1, dev_fraction=0.25, dev_by="speaker", seed=seed
        )
        return [load_manifest(tmp_path, part) for part in ("train", "dev")]

    train, dev = split(1)
    assert not train.speakers() & dev.speakers() and len(train.speakers() | dev.speakers()) == 10
    assert abs(dev.sizes.sum() / (train.sizes.sum() + dev.sizes.sum()) - 0.25) < 0.1
    assert split(1)[1].speakers() == dev.speakers() and any(split(n)[1].speakers() != dev.speakers() for n in (2, 3, 4))


@pytest.mark.parametrize("by", ["file", "speaker"])
def test_one_alone_cannot_be_divided(tmp_path, by):
    save(tmp_path / "in" / "a-1.wav")
    with pytest.raises(ManifestError, match=f"one {by} alone"):
        prepare_folders([tmp_path / "in"], tmp_path, split="train", jobs=1, dev_fraction=0.1, dev_by=by)


def test_a_folder_that_cannot_be_searched_is_told(tmp_path, caplog):
    """os.walk passes over it in silence."""
    _warn_of_folder(PermissionError(13, "Permission denied", str(tmp_path / "closed")))
    assert "closed: the folder cannot be searched (Permission denied)" in caplog.text
