import pytest
import torch
import torch.nn.functional as F
from fairseq import checkpoint_utils
from fairseq.models import MODEL_REGISTRY

from spin_fairseq.checkpoints import load_encoder
from spin_fairseq.errors import CheckpointError, ConfigError
from spin_fairseq.encoders import SpeechEncoder
from spin_fairseq.models.spin import SpinConfig, SpinModel
from tests.small_hubert import LARGE_FORM, NO_DROPOUT
from tests.small_wavlm import save_microsoft_wavlm, small_wavlm, wavlm_config

FORMS = {"base": {}, "large": {**LARGE_FORM, "normalize": True}}
form = pytest.mark.parametrize("options", FORMS.values(), ids=FORMS.keys())
TABLE = "encoder.layers.0.self_attn.relative_attention_bias.weight"


def padded(*lengths):
    generator = torch.Generator().manual_seed(0)
    source = torch.zeros(len(lengths), max(lengths))
    for row, length in zip(source, lengths):
        row[:length] = 0.1 + 0.3 * torch.randn(length, generator=generator)
    return source, torch.arange(max(lengths)) >= torch.tensor(lengths)[:, None]


def build(path, **options):
    """A Spin model over a small WavLM."""
    options = {"freeze": "cnn,pos,1..2", "head_dims": [16], "codebook_sizes": [12], **options}
    return SpinModel.build_model(SpinConfig(checkpoint=str(path), **options))


def loss_of(model):
    return sum(scores.square().sum() for scores in model(*padded(4000, 3000))["scores"])


@pytest.fixture(scope="module", params=FORMS.values(), ids=FORMS.keys())
def wavlm(request, tmp_path_factory):
    """Path of a small WavLM checkpoint without dropout, of each form."""
    return save_microsoft_wavlm(tmp_path_factory.mktemp("wavlm") / "wavlm.pt", **request.param, **NO_DROPOUT)


# --- results ----------------------------------------------------------------------------------------------------


@form
@torch.no_grad()
def test_a_padded_batch_equals_single_files(options):
    encoder = small_wavlm(**options)
    lengths = (3000, 8000, 5321, 400)
    source, mask = padded(*lengths)
    for extra in (0, 4000):
        wider = F.pad(source, (0, extra)), F.pad(mask, (0, extra), value=True)
        features, frame_mask = encoder.extract_features(*wider)
        for row, length in enumerate(lengths):
            (alone,), _ = encoder.extract_features(source[row : row + 1, :length])
            frames = encoder.output_lengths(length)
            assert len(alone) == frames == (~frame_mask[row]).sum()
            torch.testing.assert_close(features[row, :frames], alone, rtol=1e-4, atol=2e-5)


@torch.no_grad()
def test_layers_and_their_shapes():
    encoder = small_wavlm()
    source, mask = padded(9000, 6000)
    outputs = encoder.encode_layers(source, mask)
    assert encoder.num_layers == len(outputs) == 3 and encoder.width == outputs[0].size(-1) == 64
    for layer, output in enumerate(outputs, 1):
        assert torch.equal(output, encoder.extract_features(source, mask, output_layer=layer)[0])
    result = encoder(source, mask)
    assert torch.equal(result.features, outputs[-1]) and result.frame_mask.shape == outputs[-1].shape[:2]


@torch.no_grad()
def test_half_precision_weights_and_padding():
    encoder = small_wavlm()
    source, mask = padded(3000, 8000)
    single, _ = encoder.extract_features(source, mask)
    half, frame_mask = encoder.bfloat16().extract_features(source.bfloat16(), mask)
    assert half.dtype == torch.bfloat16
    assert F.cosine_similarity(half[~frame_mask].float(), single[~frame_mask], dim=-1).min() > 0.98


@torch.no_grad()
def test_without_its_bias_it_is_hubert():
    encoder = small_wavlm()
    encoder.get_parameter(TABLE).zero_()
    hubert = SpeechEncoder({**encoder.config, "kind": "hubert"}).eval()
    own = ("grep_a", "grep_linear.weight", "grep_linear.bias", "relative_attention_bias.weight")
    hubert.load_state_dict({name: x for name, x in encoder.state_dict().items() if not name.endswith(own)})
    source, mask = padded(9000, 6000)
    ours, theirs = encoder.encode_layers(source, mask), hubert.encode_layers(source, mask)
    valid = ~encoder.encode(source, mask).frame_mask
    for x, y in zip(ours, theirs):
        torch.testing.assert_close(x[valid], y[valid], rtol=1e-4, atol=2e-5)


# --- training ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "freeze, output_layer, trained",
    [
        ("cnn,pos,1..2", None, {"3"}),
        ("cnn,pos,1", 2, {"2"}),
        ("2", 3, {"cnn", "pos", "1", "3"}),
        ("", 1, {"cnn", "pos", "1"}),
        ("cnn,pos,2..3", None, {"1"}),
        ("cnn,pos,1..3", None, set()),
    ],
)
def test_gradients_only_where_expected(wavlm, freeze, output_layer, trained):
    model = build(wavlm, freeze=freeze, output_layer=output_layer)
    loss_of(model).backward()
    asking = {name for name, p in model.named_parameters() if p.requires_grad}
    assert asking == {name for name, p in model.named_parameters() if p.grad is not None}
    groups = {name for name, modules in model.encoder.layer_groups().items()
              if any(p.requires_grad for m in modules for p in m.parameters())}  # fmt: skip
    assert groups == trained
    assert model.encoder.get_parameter(TABLE).requires_grad == ("1" in trained)


def test_frozen_layers_build_no_graph_and_unused_ones_are_not_run(wavlm):
    model = build(wavlm, freeze="cnn,pos,1", output_layer=2).train()
    layers, graph = model.encoder.encoder.layers, {}
    watched = {"bias": layers[0].self_attn.relative_attention_bias, "proj": model.encoder.post_extract_proj}
    watched.update({str(index): layer for index, layer in enumerate(layers, 1)})
    for name, module in watched.items():
        module.register_forward_hook(lambda _, __, output, name=name: graph.update({name: output.requires_grad}))
    loss_of(model)
    assert graph == {"bias": False, "proj": False, "1": False, "2": True}


def test_the_bias_is_randomised_with_layer_1(wavlm):
    before = load_encoder(wavlm).state_dict()
    after = build(wavlm, randomize="1").encoder.state_dict()
    different = {name for name in before if not torch.equal(before[name], after[name])}
    assert TABLE in different and all(name.startswith("encoder.layers.0.") for name in different)


@pytest.mark.parametrize("place", ["attention_dropout", "dropout", "activation_dropout", "dropout_input"])
def test_dropout_in_each_place(place):
    encoder = small_wavlm(**{**NO_DROPOUT, place: 0.5})
    source, _ = padded(4000)
    runs = [encoder.train(mode).extract_features(source)[0] for mode in (False, False, True, True)]
    assert torch.equal(runs[0], runs[1])
    assert not torch.equal(runs[2], runs[3]) and not torch.equal(runs[0], runs[2])


# --- configuration and fairseq ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "options, message",
    [
        ({"gru_rel_pos": False}, "gru_rel_pos is off"),
        ({"relative_position_embedding": False}, "relative_position_embedding is off"),
        ({"num_buckets": 3}, "num_buckets is 3"),
        ({"num_buckets": 80, "max_distance": 20}, "num_buckets is 80"),
        ({"layer_type": "conformer"}, "layer_type"),
    ],
)
def test_configurations_that_make_no_wavlm(options, message):
    with pytest.raises(ConfigError, match=message):
        SpeechEncoder(wavlm_config(**options))


def test_unknown_keys_are_reported_once(caplog):
    SpeechEncoder(wavlm_config(a_key_of_tomorrow=1))
    assert caplog.text.count("a_key_of_tomorrow") == 1 and "num_buckets" not in caplog.text


def test_other_kinds_are_named():
    with pytest.raises(CheckpointError, match="kind 'wav2vec'; known: hubert, wavlm"):
        SpeechEncoder({"kind": "wav2vec"})


@form
@torch.no_grad()
def test_fairseq_builds_it_from_a_checkpoint_of_its_own_form(tmp_path, options):
    encoder = small_wavlm(**options)
    assert issubclass(MODEL_REGISTRY["wavlm"], SpeechEncoder)
    model = {key: value for key, value in encoder.config.items() if key not in ("kind", "normalize", "sample_rate")}
    task = {"_name": "audio_pretraining", "data": "/gone", "normalize": encoder.normalize, "sample_rate": 16000}
    state = {
        "args": None,
        "cfg": {"model": {**model, "_name": "wavlm"}, "task": task},
        "model": encoder.state_dict(),
        "optimizer_history": [{"num_updates": 0, "criterion_name": "", "lr_scheduler_state": {}, "optimizer_name": ""}],
        "extra_state": {},
    }
    torch.save(state, tmp_path / "wavlm.pt")
    (loaded,), _, task = checkpoint_utils.load_model_ensemble_and_task([str(tmp_path / "wavlm.pt")])
    source, _ = padded(8000)
    normalised = F.layer_norm(source, source.shape[-1:]) if task.cfg.normalize else source  # fairseq's scripts do it
    ours, theirs = encoder.extract_features(source)[0], loaded.eval().extract_features(normalised)[0]
    torch.testing.assert_close(theirs, ours, rtol=1e-4, atol=2e-5)
