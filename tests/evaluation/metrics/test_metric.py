import dataclasses

import pytest

from spin_fairseq.evaluation.metrics import phones, speakers, tokens
from spin_fairseq.evaluation.metrics.metric import Metric


def test_a_direction_is_one_of_three():
    for better in ("higher", "lower", ""):
        assert Metric("key", "title", better, "what it is.", "who said so").better == better
    with pytest.raises(ValueError, match='key: better is "higher", "lower" or "", not \'up\''):
        Metric("key", "title", "up", "what it is.", "who said so")


@pytest.mark.parametrize("module", [phones, speakers, tokens])
def test_each_metric_says_what_it_is(module):
    for metric in module.METRICS:
        assert metric.definition.endswith(".") and metric.title and metric.source, metric.key
        with pytest.raises(dataclasses.FrozenInstanceError):
            metric.key = "other"
    for names in ([metric.key for metric in module.METRICS], [metric.title for metric in module.METRICS]):
        assert len(set(names)) == len(names)
