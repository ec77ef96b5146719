import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from spin_fairseq.encoders import parse_conv_layers
from spin_fairseq.errors import CheckpointError


@pytest.mark.parametrize(
    "expression, layers",
    [
        ("[(512, 10, 5)]", [(512, 10, 5)]),
        ("[(8,10,5)] + [(8,3,2)] * 2 + [(8,2,2)]", [(8, 10, 5), (8, 3, 2), (8, 3, 2), (8, 2, 2)]),
        ("([(8,10,5)] + [(8,3,2)]) * 2", [(8, 10, 5), (8, 3, 2)] * 2),
    ],
)
def test_reads_what_fairseq_evaluates(expression, layers):
    assert parse_conv_layers(expression) == layers == eval(expression)
    assert parse_conv_layers(repr(layers)) == layers


@pytest.mark.parametrize(
    "expression",
    [
        "__import__('os').system('true')",
        "[(512, 10, 5)] + [__import__('os').getpid()]",
        "[(x, 1, 1) for x in range(3)]",
        "[(8, 3, 2)] * 100000000000",
        "[(8, 3, 2)] * -1",
        "[(8, 3)]",
        "[(8, 3, 0)]",
        "[(8, 3, 2.0)]",
        "[(True, 3, 2)]",
        "[8, 3, 2]",
        "[]",
        "(8, 3, 2)",
        "",
        "[(8, 3, 2)",
        "(" * 5000,
        None,
    ],
)
def test_refuses_everything_else(expression):
    with pytest.raises(CheckpointError, match="conv_feature_layers"):
        parse_conv_layers(expression)


@settings(deadline=None, max_examples=100)
@given(st.text(alphabet="[]()+*, 0123456789abc_.-'\n\0", max_size=40))
def test_any_text_is_read_or_refused(expression):
    try:
        layers = parse_conv_layers(expression)
    except CheckpointError:
        return
    assert all(len(layer) == 3 and min(layer) >= 1 for layer in layers)
