"""A few seconds of synthetic speech in the shape of LibriSpeech, with phone labels."""

from pathlib import Path

import numpy as np
import soundfile

from tests.synthetic_speech import SAMPLE_RATE, SPEAKER_F0, VOWEL_FORMANTS, synthetic_voice


def librispeech_folder(
    root, train_speakers=("19", "26"), dev_speakers=("84", "116"), train_utterances=4, dev_utterances=2, seed=0
):
    """{train,dev}/SPEAKER/1/*.flac, SPEAKERS.TXT and phones/{train,dev}.tsv; the last utterance of dev has no labels. -> root."""
    rng = np.random.default_rng(seed)
    root = Path(root)
    (root / "phones").mkdir(parents=True)
    speakers = [";ID  |SEX| SUBSET           |MINUTES| NAME"]
    for split, names, count in (("train", train_speakers, train_utterances), ("dev", dev_speakers, dev_utterances)):
        rows = []
        for speaker in names:
            speakers.append(f"{speaker} | F | {split} | 0 | Voice {speaker}")
            for number in range(count):
                phones = [str(phone) for phone in rng.choice(["SIL", *VOWEL_FORMANTS], 10)]
                phones[1] = "AA"  # each has a voiced stretch
                utterance = f"{speaker}-1-{number:04d}"
                path = root / split / speaker / "1" / f"{utterance}.flac"
                path.parent.mkdir(parents=True, exist_ok=True)
                soundfile.write(
                    path, synthetic_voice(SPEAKER_F0[speaker], phones, seed=int(rng.integers(1 << 30))), SAMPLE_RATE
                )
                rows.append(f"{utterance}\t{','.join(phone for phone in phones for _ in range(20))}\n")
        (root / "phones" / f"{split}.tsv").write_text("".join(rows if split == "train" else rows[:-1]))
    (root / "SPEAKERS.TXT").write_text("\n".join(speakers) + "\n")
    return root
