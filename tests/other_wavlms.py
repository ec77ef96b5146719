"""WavLM by transformers and by torchaudio, with random weights: what ours is compared with."""

import re
import sys
from contextlib import contextmanager
from importlib.util import find_spec, module_from_spec, spec_from_loader

import pytest

from spin_fairseq.encoders import parse_conv_layers
from tests.small_wavlm import stir


class Other:
    """model: a module; its tensors go by Microsoft's names through `rename`."""

    def __init__(self, model, layer_norm_extractor):
        self.model = stir(model)
        self.norm = "2.1" if layer_norm_extractor else "2"

    def rename(self, tensors):
        """{their name: tensor} -> {Microsoft's name: tensor}."""
        names = [
            (r"^encoder\.feature_projection", "feature_projection"),
            (r"^encoder\.transformer", "encoder"),
            (r"^masked_spec_embed$", "mask_emb"),
            (r"^feature_projection\.layer_norm", "layer_norm"),
            (r"^feature_projection\.projection", "post_extract_proj"),
            (r"(conv_layers\.\d+)\.conv\.", r"\1.0."),
            (r"(conv_layers\.\d+)\.layer_norm\.", rf"\1.{self.norm}."),
            (r"pos_conv_embed\.conv", "pos_conv.0"),
            (r"parametrizations\.weight\.original0", "weight_g"),
            (r"parametrizations\.weight\.original1", "weight_v"),
            (r"(layers\.\d+)\.layer_norm", r"\1.self_attn_layer_norm"),
            (r"feed_forward\.intermediate_dense", "fc1"),
            (r"feed_forward\.output_dense", "fc2"),
            (r"\.attention\.(attention\.)?", ".self_attn."),
            (r"gru_rel_pos_const", "grep_a"),
            (r"gru_rel_pos_linear", "grep_linear"),
            (r"rel_attn_embed", "relative_attention_bias"),
        ]
        result = {}
        for name, tensor in tensors.items():
            for pattern, replacement in names:
                name = re.sub(pattern, replacement, name)
            if ".in_proj_" in name:
                for part, third in zip("qkv", tensor.chunk(3)):
                    result[name.replace("in_proj_", f"{part}_proj.")] = third
            else:
                result[name] = tensor
        return result


class TransformersWavLM(Other):
    def __init__(self, config):
        transformers = pytest.importorskip("transformers")
        widths, kernels, strides = zip(*parse_conv_layers(config["conv_feature_layers"]))
        layer_norm = config.get("extractor_mode") == "layer_norm"
        settings = transformers.WavLMConfig(
            hidden_size=config["encoder_embed_dim"],
            num_hidden_layers=config["encoder_layers"],
            num_attention_heads=config["encoder_attention_heads"],
            intermediate_size=config["encoder_ffn_embed_dim"],
            conv_dim=widths,
            conv_kernel=kernels,
            conv_stride=strides,
            conv_bias=config.get("conv_bias", False),
            feat_extract_norm="layer" if layer_norm else "group",
            do_stable_layer_norm=config.get("layer_norm_first", False),
            num_conv_pos_embeddings=config["conv_pos"],
            num_conv_pos_embedding_groups=config["conv_pos_groups"],
            num_buckets=config["num_buckets"],
            max_bucket_distance=config["max_distance"],
        )
        super().__init__(transformers.WavLMModel(settings), layer_norm)

    def layers(self, source, padding_mask=None):
        """-> each layer's output, without the norm that follows the last one in the Large form."""
        outputs = []
        hooks = [
            layer.register_forward_hook(lambda _, __, output: outputs.append(output[0]))
            for layer in self.model.encoder.layers
        ]
        self.model(source, attention_mask=None if padding_mask is None else (~padding_mask).long())
        for hook in hooks:
            hook.remove()
        return outputs


@contextmanager
def _torchaudio_without_its_libraries():
    """torchaudio's models are Python; its compiled parts, which may not fit the installed torch, are left out."""
    spec = find_spec("torchaudio")
    package = module_from_spec(spec_from_loader("torchaudio", loader=None, is_package=True))
    package.__path__ = list(spec.submodule_search_locations)
    sys.modules["torchaudio"] = package
    try:
        yield
    finally:  # others shall meet the real package
        for name in [name for name in sys.modules if name.split(".")[0] == "torchaudio"]:
            del sys.modules[name]


def torchaudio_wavlm_model():
    """-> torchaudio.models.wavlm_model."""
    if find_spec("torchaudio") is None:
        pytest.skip("torchaudio is not installed")
    with _torchaudio_without_its_libraries():
        from torchaudio.models import wavlm_model
    return wavlm_model


class TorchaudioWavLM(Other):
    def __init__(self, config):
        layer_norm = config.get("extractor_mode") == "layer_norm"
        model = torchaudio_wavlm_model()(
            extractor_mode="layer_norm" if layer_norm else "group_norm",
            extractor_conv_layer_config=parse_conv_layers(config["conv_feature_layers"]),
            extractor_conv_bias=config.get("conv_bias", False),
            encoder_embed_dim=config["encoder_embed_dim"],
            encoder_projection_dropout=0.1,
            encoder_pos_conv_kernel=config["conv_pos"],
            encoder_pos_conv_groups=config["conv_pos_groups"],
            encoder_num_layers=config["encoder_layers"],
            encoder_num_heads=config["encoder_attention_heads"],
            encoder_num_buckets=config["num_buckets"],
            encoder_max_distance=config["max_distance"],
            encoder_attention_dropout=0.1,
            encoder_ff_interm_features=config["encoder_ffn_embed_dim"],
            encoder_ff_interm_dropout=0.0,
            encoder_dropout=0.1,
            encoder_layer_norm_first=config.get("layer_norm_first", False),
            encoder_layer_drop=0.0,
            aux_num_out=None,
        )
        super().__init__(model, layer_norm)

    def layers(self, source):
        """-> each layer's output. (It takes no padded batches: its attention refuses a mask.)"""
        return self.model.extract_features(source)[0]


OTHERS = {"transformers": TransformersWavLM, "torchaudio": TorchaudioWavLM}
