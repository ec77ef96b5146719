"""examples/demo/natural: the speech is what its page says."""

from pathlib import Path

import numpy as np

from spin_fairseq.evaluation.corpus import load_corpus
from spin_fairseq.speech.audio import read_utterance

VOICES = Path(__file__).resolve().parents[2] / "examples" / "demo" / "natural"


def test_every_utterance_has_labels_of_its_length_and_dev_has_other_speakers():
    """Guards against files without labels, labels of other files, and speakers that training has heard."""
    speakers = {}
    for split, minutes, utterances, voices in (("train", 9.8, 125, 36), ("dev", 4.7, 62, 9)):
        corpus = load_corpus([VOICES / split], [VOICES / "phones" / f"{split}.tsv"])
        assert len(corpus) == len(corpus.labelled) == utterances and round(corpus.seconds / 60, 1) == minutes
        assert [len(row) for row in corpus.phones] == (corpus.sizes // 160).tolist()
        speakers[split] = set(corpus.speakers)
        assert len(speakers[split]) == voices
        listed = [row.split(" | ") for row in (VOICES / "SPEAKERS.TXT").read_text().splitlines()[1:]]
        assert {row[0] for row in listed if row[2] == split} == speakers[split]
        for manifest in corpus.manifests:
            wave = read_utterance(manifest, len(manifest) - 1)  # Ogg in dev, and in train
            assert 0.1 < np.abs(wave).max() < 1.1  # Vorbis may go a little beyond 1
    assert not speakers["train"] & speakers["dev"]


def test_speech_and_silence_lie_where_the_labels_say():
    """Guards against labels that are shifted against the audio."""
    corpus = load_corpus([VOICES / "dev"], [VOICES / "phones" / "dev.tsv"])
    silence = corpus.symbols.index("SIL")
    loud, quiet = [], []
    for index in range(0, len(corpus), 4):
        wave, row = read_utterance(corpus.manifests[0], index), corpus.phones[index]
        level = np.square(wave[: 160 * len(row)].reshape(-1, 160)).mean(1)
        loud.append(level[row != silence].mean())
        quiet.append(level[row == silence].mean())
    assert np.mean(quiet) < 0.02 * np.mean(loud)
