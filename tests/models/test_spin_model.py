import pytest
import torch
import torch.nn.functional as F
from tests.small_hubert import LARGE_FORM, NO_DROPOUT

from spin_fairseq.errors import ConfigError
from spin_fairseq.models.spin import SpinConfig, SpinModel


def build(checkpoint, **options):
    torch.manual_seed(0)
    options = {"freeze": "cnn,pos,1..2", "head_dims": [16], "codebook_sizes": [12], **options}
    return SpinModel.build_model(SpinConfig(checkpoint=str(checkpoint), **options))


def batch(*lengths):
    generator = torch.Generator().manual_seed(1)
    source = torch.zeros(len(lengths), max(lengths))
    for row, length in zip(source, lengths):
        row[:length] = 0.2 * torch.randn(length, generator=generator)
    return source, torch.arange(max(lengths)) >= torch.tensor(lengths)[:, None]


def loss_of(model):
    net_output = model(*batch(4000, 3000))
    return sum(scores.square().sum() for scores in net_output["scores"])


def trained_groups(model):
    """Names of the groups that get a gradient; within a group all parameters, or none."""
    loss_of(model).backward()
    names = set()
    for name, modules in model.encoder.layer_groups().items():
        has_gradient = {p.grad is not None and bool(p.grad.any()) for m in modules for p in m.parameters()}
        assert len(has_gradient) == 1, f"{name}: some parameters have a gradient, others none"
        names |= {name} if has_gradient.pop() else set()
    return names


# --- what is trained --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "freeze, output_layer, trained",
    [
        ("cnn,pos,1..2", None, {"3"}),
        (["cnn", "pos", 1, 2], 3, {"3"}),
        ("[cnn, pos, 1]", 2, {"2"}),
        ("cnn", None, {"pos", "1", "2", "3"}),
        ("2", 3, {"cnn", "pos", "1", "3"}),
        ([], None, {"cnn", "pos", "1", "2", "3"}),
        ("", 1, {"cnn", "pos", "1"}),
        ("cnn,pos,1..3", None, set()),
    ],
)
@pytest.mark.parametrize("form", [{}, LARGE_FORM], ids=["base", "large"])
def test_gradients_only_where_expected(make_hubert, form, freeze, output_layer, trained):
    model = build(make_hubert(**form, **NO_DROPOUT), freeze=freeze, output_layer=output_layer)
    assert trained_groups(model) == trained
    asking = {name for name, p in model.named_parameters() if p.requires_grad}
    with_gradient = {name for name, p in model.named_parameters() if p.grad is not None}
    assert asking == with_gradient  # DDP fails, or waits, for parameters that get none
    assert {"head.projection.0.weight", "head.projection.0.bias", "head.prototypes.0"} <= with_gradient
    assert not model.encoder.mask_emb.requires_grad


def test_no_graph_below_the_first_trained_layer(small_hubert):
    model = build(small_hubert).train()
    graph = {}
    watched = {"proj": model.encoder.post_extract_proj, "pos": model.encoder.encoder.pos_conv}
    watched.update({str(i): layer for i, layer in enumerate(model.encoder.encoder.layers, 1)})

    def note(name, output):
        graph[name] = (output[0] if isinstance(output, tuple) else output).requires_grad

    for name, module in watched.items():
        module.register_forward_hook(lambda _, __, output, name=name: note(name, output))
    loss_of(model)
    assert graph == {"proj": False, "pos": False, "1": False, "2": False, "3": True}


@pytest.mark.parametrize("output_layer, expected", [(1, [1, 0, 0]), (2, [1, 1, 0]), (None, [1, 1, 1])])
def test_layers_above_the_output_layer_are_not_run(small_hubert, output_layer, expected):
    model = build(small_hubert, freeze="cnn", output_layer=output_layer)
    runs = [0, 0, 0]
    for i, layer in enumerate(model.encoder.encoder.layers):
        layer.register_forward_hook(lambda *_, i=i: runs.__setitem__(i, runs[i] + 1))
    loss_of(model)
    assert runs == expected


# --- dropout ----------------------------------------------------------------------------------------------------


def frozen_outputs(model):
    """The input of the last, trained layer, twice."""
    seen = []
    model.encoder.encoder.layers[2].register_forward_pre_hook(lambda _, args: seen.append(args[0]))
    loss_of(model), loss_of(model)
    return seen


def test_dropout_stays_on_in_frozen_layers(small_hubert):
    first, second = frozen_outputs(build(small_hubert).train())
    assert not torch.equal(first, second)


def test_frozen_layers_without_dropout(small_hubert):
    model = build(small_hubert, frozen_layers_without_dropout=True).train()
    first, second = frozen_outputs(model)
    assert torch.equal(first, second)
    assert model.encoder.encoder.layers[2].training and model.head.training
    first, second = (model(*batch(4000))["scores"][0] for _ in range(2))
    assert not torch.equal(first, second)  # the trained layer keeps its dropout


def test_eval_mode_is_deterministic(small_hubert):
    model = build(small_hubert).eval()
    assert torch.equal(model(*batch(4000))["scores"][0], model(*batch(4000))["scores"][0])


# --- names ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "key, value, message",
    [
        ("freeze", "cnn,0", "model.freeze names '0'.*layers 1..3"),
        ("freeze", "4", "model.freeze names '4'"),
        ("freeze", "2..4", "model.freeze names '4'"),
        ("freeze", "3..1", "model.freeze names '3..1'"),
        ("freeze", "1...3", "model.freeze names '1...3'"),
        ("freeze", "conv", "model.freeze names 'conv'.*cnn, pos"),
        ("freeze", "-1", "model.freeze names '-1'"),
        ("randomize", "1..9", "model.randomize names '4'"),
        ("output_layer", 0, "model.output_layer is 0.*1..3"),
        ("output_layer", 4, "model.output_layer is 4"),
        ("output_layer", -1, "model.output_layer is -1"),
        ("codebook_sizes", [1], "model.codebook_sizes.*at least 2"),
        ("codebook_sizes", "", "model.codebook_sizes.*at least 2"),
        ("codebook_sizes", "256,many", "model.codebook_sizes"),
        ("head_dims", [], "model.head_dims.*at least 1"),
        ("head_dims", "0", "model.head_dims"),
    ],
)
def test_values_out_of_range(small_hubert, key, value, message):
    with pytest.raises(ConfigError, match=message):
        build(small_hubert, **{key: value})


def test_randomize_changes_the_named_groups_alone_and_their_norms(make_hubert):
    checkpoint = make_hubert(seed=5)
    kept, changed = build(checkpoint), build(checkpoint, randomize="pos,3")
    before, after = kept.encoder.state_dict(), changed.encoder.state_dict()
    different = {name for name in before if not torch.equal(before[name], after[name])}
    expected = {n for n in before if n.startswith(("encoder.pos_conv", "encoder.layers.2", "encoder.layer_norm"))}
    assert different == expected
    assert torch.equal(after["encoder.layers.2.final_layer_norm.weight"], torch.ones(64))


# --- results ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("form", [{}, {**LARGE_FORM, "normalize": True}], ids=["base", "large"])
@torch.no_grad()
def test_what_is_extracted(make_hubert, form):
    model = build(make_hubert(**form), output_layer=2, freeze="cnn", codebook_sizes=[12, 30]).eval()
    source, mask = batch(4000, 3000)
    features, frame_mask = model.extract_features(source, mask)
    assert torch.equal(features, model.encoder.extract_features(source, mask, output_layer=2)[0])
    assert torch.equal(
        model.extract_features(source, mask, output_layer=3)[0], model.encoder.extract_features(source, mask)[0]
    )
    embeddings = model.extract_embeddings(source, mask)
    torch.testing.assert_close(embeddings, F.normalize(model.head.projection(features), dim=-1))
    for codebook, size in enumerate((12, 30)):
        scores = model.extract_scores(source, mask, codebook)
        expected = embeddings @ F.normalize(model.head.prototypes[codebook], dim=-1).t()
        assert scores.shape[2] == size
        torch.testing.assert_close(scores, expected)
        units = model.extract_units(source, mask, codebook)
        assert units.dtype == torch.int64 and torch.equal(units, scores.argmax(-1))
    net_output = model(source, mask)
    assert [s.size(-1) for s in net_output["scores"]] == [12, 30]
    assert torch.equal(net_output["valid"], ~frame_mask)


@pytest.mark.parametrize("form", [{}, {**LARGE_FORM, "normalize": True}], ids=["base", "large"])
@torch.no_grad()
def test_units_do_not_depend_on_the_batch(make_hubert, form):
    model = build(make_hubert(**form), codebook_sizes=[50]).eval()
    source, mask = batch(8000, 3000, 5000)
    together = model.extract_units(source, mask)
    for row, length in enumerate((8000, 3000, 5000)):
        alone = model.extract_units(source[row : row + 1, :length])
        assert torch.equal(together[row, : alone.size(1)], alone[0])


@torch.no_grad()
def test_no_padding_mask_means_no_padding(small_hubert):
    model = build(small_hubert).eval()
    source, mask = batch(3000, 3000)
    without, given = model(source), model(source, mask)
    assert without["valid"].all() and without["valid"].shape == given["valid"].shape
    torch.testing.assert_close(without["scores"][0], given["scores"][0], rtol=1e-4, atol=1e-5)
