import pytest

from spin_fairseq.checkpoints.given import encoder_keys
from spin_fairseq.errors import ConfigError


def test_values_are_of_the_kind_of_their_keys():
    given = ["encoder_attention_heads=8", "normalize=true"]
    assert encoder_keys(given) == {"encoder_attention_heads": 8, "normalize": True}
    assert encoder_keys("dropout=0.2") == {"dropout": 0.2}
    assert encoder_keys("") == encoder_keys(None) == encoder_keys([]) == {}
    assert encoder_keys(["activation_fn=relu", "post_extract_proj=True"]) == {
        "activation_fn": "relu",
        "post_extract_proj": True,
    }


@pytest.mark.parametrize(
    "pair", ["heads=8", "encoder_attention_heads", "encoder_attention_heads=many", "normalize=perhaps"]
)
def test_what_makes_no_sense_is_named(pair):
    with pytest.raises(ConfigError, match=f"model.encoder_keys {pair}: "):
        encoder_keys([pair], "model.encoder_keys")
