import pytest

from spin_fairseq.errors import ConfigError
from spin_fairseq.evaluation.features.specs import parse_spec, parse_specs


@pytest.mark.parametrize(
    "text, name, kind, source, layer, clusters, codebook",
    [
        ("mfcc+kmeans", "mfcc-k100", "kmeans", "mfcc", None, 100, 0),
        ("mfcc+kmeans:k=50", "mfcc-k50", "kmeans", "mfcc", None, 50, 0),
        ("a/hubert.pt+kmeans:layer=9:k=500", "hubert-l9-k500", "kmeans", "a/hubert.pt", 9, 500, 0),
        ("a/hubert.pt+kmeans:k=500:layer=9", "hubert-l9-k500", "kmeans", "a/hubert.pt", 9, 500, 0),
        ("run/checkpoint_last.pt", "checkpoint_last", "spin", "run/checkpoint_last.pt", None, None, 0),
        (
            "run/checkpoint_last.pt:codebook=1",
            "checkpoint_last-codebook1",
            "spin",
            "run/checkpoint_last.pt",
            None,
            None,
            1,
        ),
        ("mine=run/last.pt", "mine", "spin", "run/last.pt", None, None, 0),
        ("base=mfcc+kmeans:k=7", "base", "kmeans", "mfcc", None, 7, 0),
        ("outputs/seed=1/last.pt", "last", "spin", "outputs/seed=1/last.pt", None, None, 0),
        ("a+kmeans.pt", "a-kmeans", "spin", "a+kmeans.pt", None, None, 0),
    ],
)
def test_what_a_model_may_be(text, name, kind, source, layer, clusters, codebook):
    spec = parse_spec(text)
    assert (spec.name, spec.kind, spec.source, spec.layer) == (name, kind, source, layer)
    assert (spec.clusters, spec.codebook, spec.text) == (clusters, codebook, text)


@pytest.mark.parametrize(
    "text, word",
    [
        ("mfcc", "no layers"),
        ("mfcc+kmeans:layer=2", "no layers"),
        ("mfcc+kmeans:k=1", "at least 2"),
        ("mfcc+kmeans:k=many", "k=many"),
        ("mfcc+kmeans:clusters=5", "clusters=5"),
        ("last.pt:layer=3", "layer=3"),
        ("+kmeans", "nothing stands before"),
        ("", "no model"),
    ],
)
def test_what_a_model_may_not_be(text, word):
    with pytest.raises(ConfigError, match=word):
        parse_spec(text)


def test_an_existing_file_is_no_name(tmp_path, monkeypatch):
    (tmp_path / "a=b.pt").touch()
    monkeypatch.chdir(tmp_path)
    assert parse_spec("a=b.pt").source == "a=b.pt"


def test_checkpoints_of_one_name_are_told_apart_by_their_folders():
    specs = parse_specs(["run_1/checkpoint_last.pt", "run_2/checkpoint_last.pt", "mfcc+kmeans"])
    assert [spec.name for spec in specs] == ["run_1-checkpoint_last", "run_2-checkpoint_last", "mfcc-k100"]
    with pytest.raises(ConfigError, match="two models have the name 'mfcc-k100'"):
        parse_specs(["mfcc-k100=a.pt", "mfcc-k100=b.pt"])
