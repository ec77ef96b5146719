"""What tests of several rooms share: synthetic speech, and small genuine HuBERT checkpoints made by fairseq itself."""

import spin_fairseq  # noqa: F401  registers the models

import pytest
import torch

from tests.synthetic_speech import make_speech


@pytest.fixture(scope="session")
def speech_folder(tmp_path_factory):
    """12 training and 6 dev utterances of 1.1 to 2 s by 4 synthetic voices; not to be changed: copy it for that."""
    return make_speech(tmp_path_factory.mktemp("speech"))


@pytest.fixture(scope="session")
def make_hubert(tmp_path_factory):
    """make_hubert(normalize=False, seed=0, **HubertConfig keys) -> path of a small fairseq HuBERT checkpoint.

    LARGE_FORM and NO_DROPOUT of tests/small_hubert.py are sets of keys.
    """
    from tests.small_hubert import fairseq_hubert  # here, since tests without fairseq read this file too

    made = {}

    def make(**options):
        key = tuple(sorted(options.items()))
        if key not in made:
            made[key] = tmp_path_factory.mktemp("hubert") / "hubert.pt"
            torch.save(fairseq_hubert(**options)[1], made[key])
        return made[key]

    return make


@pytest.fixture(scope="session")
def small_hubert(make_hubert):
    """Path of a fairseq HuBERT checkpoint with random weights: 3 layers x 64, Base form, its dropout as usual."""
    return make_hubert()
