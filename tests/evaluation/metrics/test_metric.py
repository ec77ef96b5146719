import dataclasses

import pytest

from spin_fairseq.evaluation.metrics import phones, speakers, tokens
from spin_fairseq.evaluation.metrics.metric import Figure


def test_a_direction_is_one_of_three():
    for better in ("higher", "lower", ""):
        assert Figure("key", "title", better, "what it is.", "who said so").better == better
    with pytest.raises(ValueError, match='key: better is "higher", "lower" or "", not \'up\''):
        Figure("key", "title", "up", "what it is.", "who said so")


@pytest.mark.parametrize("module", [phones, speakers, tokens])
def test_each_figure_says_what_it_is(module):
    for figure in module.FIGURES:
        assert figure.definition.endswith(".") and figure.title and figure.source, figure.key
        with pytest.raises(dataclasses.FrozenInstanceError):
            figure.key = "other"
    for names in ([figure.key for figure in module.FIGURES], [figure.title for figure in module.FIGURES]):
        assert len(set(names)) == len(names)
