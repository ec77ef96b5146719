import os
import shutil

import numpy as np
import pytest

from spin_fairseq.speech.manifest import load_manifest, write_manifest
from spin_fairseq.speech.phone_labels import load_phone_labels
from spin_fairseq.errors import ManifestError, PhoneLabelError
from spin_fairseq.evaluation.corpus import load_corpus


@pytest.fixture
def two_splits(speech_folder, tmp_path):
    """The dev split as a.tsv and b.tsv, three utterances each."""
    manifest = load_manifest(speech_folder.data, "dev")
    for name, rows in (("a", [0, 1, 2]), ("b", [3, 4, 5])):
        write_manifest(tmp_path / f"{name}.tsv", manifest.root, manifest.rows(rows))
    return tmp_path


def write_labels(source, target, keep):
    target.write_text("".join(row for row in source.read_text().splitlines(keepends=True) if keep(row.split("\t")[0])))


def test_several_manifests_are_one(two_splits, speech_folder):
    corpus = load_corpus([two_splits / "a.tsv", two_splits / "b.tsv"], [speech_folder.phones / "dev.tsv"])
    manifest, phones = load_manifest(speech_folder.data, "dev"), load_phone_labels(speech_folder.phones, "dev")
    assert corpus.ids == tuple(manifest.utterance_id(i) for i in range(6))
    assert corpus.speakers == tuple(manifest.speaker(i) for i in range(6))
    assert corpus.sizes.tolist() == manifest.sizes.tolist()
    for i, name in enumerate(corpus.ids):
        assert os.path.samefile(corpus.path(i), manifest.path(i))
        assert [corpus.symbols[phone] for phone in corpus.phones[i]] == [
            phones.symbols[phone] for phone in phones[name]
        ]


def test_labels_in_several_files_have_one_set_of_symbols(two_splits, speech_folder):
    corpus = load_corpus([speech_folder.data / "dev.tsv"], [speech_folder.phones])
    labels = two_splits / "labels"
    labels.mkdir()
    write_labels(speech_folder.phones / "dev.tsv", labels / "a.tsv", lambda name: name in corpus.ids[:3])
    write_labels(speech_folder.phones / "dev.tsv", labels / "b.tsv", lambda name: name in corpus.ids[3:])
    both = load_corpus([two_splits / "a.tsv", two_splits / "b.tsv"], [labels])
    assert both.symbols == corpus.symbols
    assert all(np.array_equal(*pair) for pair in zip(both.phones, corpus.phones))


def test_what_is_written_is_read_again(two_splits, speech_folder, tmp_path):
    corpus = load_corpus([two_splits / "b.tsv", two_splits / "a.tsv"], [speech_folder.phones / "dev.tsv"])
    corpus.write_manifest(tmp_path / "out" / "data.tsv")
    corpus.write_phones(tmp_path / "out" / "phones.tsv")
    again = load_corpus([tmp_path / "out" / "data.tsv"], [tmp_path / "out" / "phones.tsv"])
    assert (again.ids, again.speakers, again.symbols) == (corpus.ids, corpus.speakers, corpus.symbols)
    assert all(np.array_equal(*pair) for pair in zip(again.phones, corpus.phones))


def test_utterances_without_labels_are_told(speech_folder, tmp_path, caplog):
    write_labels(speech_folder.phones / "dev.tsv", tmp_path / "some.tsv", lambda name: not name.endswith("0003"))
    corpus = load_corpus([speech_folder.data / "dev.tsv"], [tmp_path / "some.tsv"])
    assert corpus.labelled == [0, 1, 2, 4, 5] and corpus.phones[3] is None
    assert "1 of 6 utterances have no phone labels" in caplog.text and corpus.ids[3] in caplog.text


def test_the_fingerprint_changes_with_audio_speakers_and_labels(speech_folder, tmp_path):
    root = tmp_path / "copy"
    shutil.copytree(speech_folder.data, root)
    write_manifest(root / "dev.tsv", root / "audio", load_manifest(speech_folder.data, "dev").rows(range(6)))

    def identities():
        corpus = load_corpus([root / "dev.tsv"], [root / "phones"])
        return corpus.audio_fingerprint, corpus.fingerprint()

    first = identities()
    assert identities() == first
    labels = (root / "phones" / "dev.tsv").read_text()
    (root / "phones" / "dev.tsv").write_text(labels.replace("AA", "IY", 1))
    relabelled = identities()
    assert relabelled[0] == first[0] and relabelled[1] != first[1]
    os.utime(load_corpus([root / "dev.tsv"]).path(2), (1, 1))
    assert identities()[0] != first[0]


def test_bad_data_is_named(speech_folder, two_splits):
    dev = speech_folder.data / "dev.tsv"
    (two_splits / "empty.tsv").write_text(f"{speech_folder.data}\n")
    (two_splits / "short.tsv").write_text(f"{speech_folder.data}\nx.wav\t399\n")
    (two_splits / "other.tsv").write_text("somebody-else\tAA,AA\n")
    write_labels(speech_folder.phones / "dev.tsv", two_splits / "again.tsv", lambda name: True)
    for error, word, data, labels in [
        (ManifestError, "empty.tsv.*no utterances", [two_splits / "empty.tsv"], []),
        (ManifestError, "x.wav.*too short", [two_splits / "short.tsv"], []),
        (ManifestError, "is there 2 times; remove", [dev, two_splits / "b.tsv"], []),
        (ManifestError, "nowhere", [two_splits / "nowhere.tsv"], []),
        (
            PhoneLabelError,
            "other.tsv: no labels for any utterance of .*dev.tsv.*for other files",
            [dev],
            [two_splits / "other.tsv"],
        ),
        (PhoneLabelError, "has no a.tsv", [two_splits / "a.tsv"], [speech_folder.phones]),
        (PhoneLabelError, "both have labels", [dev], [speech_folder.phones, two_splits / "again.tsv"]),
        (PhoneLabelError, "labels.txt", [dev], [two_splits / "labels.txt"]),
    ]:
        with pytest.raises(error, match=word):
            load_corpus(data, labels)


def test_files_of_one_name_are_told_apart(speech_folder, tmp_path):
    """Evaluation refused them. What it writes for the report has the same ids."""
    manifest, labels = load_manifest(speech_folder.data, "dev"), load_phone_labels(speech_folder.phones, "dev")
    for split, rows in (("a", [0, 1]), ("b", [2])):
        rows_of_split, lines = [], []
        for speaker, i in zip(("anna", "ben"), rows):
            folder = tmp_path / split / "audio" / speaker
            folder.mkdir(parents=True)
            shutil.copy(manifest.path(i), folder / "001.flac")
            rows_of_split.append((f"{speaker}/001.flac", int(manifest.sizes[i])))
            name = f"{speaker}/001" if split == "a" else "001"
            lines.append(f"{name}\t{','.join(labels.symbols[phone] for phone in labels[manifest.utterance_id(i)])}\n")
        write_manifest(tmp_path / f"{split}.tsv", tmp_path / split / "audio", rows_of_split)
        (tmp_path / "labels").mkdir(exist_ok=True)
        (tmp_path / "labels" / f"{split}.tsv").write_text("".join(lines))
    alone = load_corpus([tmp_path / "a.tsv"], [tmp_path / "labels"])
    both = load_corpus([tmp_path / "a.tsv", tmp_path / "b.tsv"], [tmp_path / "labels"])
    assert alone.ids == ("anna/001", "ben/001") and both.ids == (
        "a/audio/anna/001",
        "a/audio/ben/001",
        "b/audio/anna/001",
    )
    for corpus in (alone, both):
        corpus.write_manifest(tmp_path / "out" / "data.tsv")
        corpus.write_phones(tmp_path / "out" / "phones.tsv")
        again = load_corpus([tmp_path / "out" / "data.tsv"], [tmp_path / "out" / "phones.tsv"])
        assert again.ids == corpus.ids and all(np.array_equal(*pair) for pair in zip(again.phones, corpus.phones))
        for i in range(len(corpus)):
            expected = labels[manifest.utterance_id(i)]
            assert [corpus.symbols[phone] for phone in corpus.phones[i]] == [
                labels.symbols[phone] for phone in expected
            ]


def test_labels_that_may_be_of_two_files_are_refused(speech_folder, tmp_path):
    for folder in ("x", "y"):
        (tmp_path / folder).mkdir()
        write_manifest(tmp_path / folder / "dev.tsv", tmp_path / folder, [("001.flac", 4000)])
    (tmp_path / "dev.tsv").write_text("001\tAA,AA\n")
    with pytest.raises(PhoneLabelError, match="'001' may be x/001 or y/001"):
        load_corpus([tmp_path / "x" / "dev.tsv", tmp_path / "y" / "dev.tsv"], [tmp_path / "dev.tsv"])
