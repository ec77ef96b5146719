"""Read fairseq's HuBERT checkpoints: pre-trained, fine-tuned for recognition, and ContentVec, which is a HuBERT too."""

import re
from typing import Any

from ..encoders.config import KNOWN_KEYS
from ..encoders.conv_layers import parse_conv_layers
from ..errors import CheckpointError
from ..sample_rate import SAMPLE_RATE
from .files import AS_WRITTEN, Checkpoint, plain
from .naming import one_weight_norm
from .sizes import rebuild_config

NAME = "fairseq HuBERT, fine-tuned HuBERT, ContentVec"

# The prefix of the encoder in a fine-tuned model.
_FINE_TUNED = {
    "hubert_ctc": "w2v_encoder.w2v_model.",
    "hubert_ctc_phones": "w2v_encoder.w2v_model.",  # of examples/dcspin
    "hubert_seq2seq": "encoder.w2v_model.",
}
# Tensors of the pre-training objective, which an encoder does not have.
_PRETRAINING = ("final_proj.", "label_embs_concat", "target_glu.")
# Only in ContentVec: a projection for its contrastive loss, and layers on top that are conditioned on the speaker.
_CONTENTVEC = ("layer_proj.", "encoder.cond_layer_norm.")
_CONTENTVEC_KEYS = ("encoder_layers_1", "ctr_layers", "logit_temp_ctr", "num_negatives", "cross_sample_negatives")
_LAYER = re.compile(r"encoder\.layers\.(\d{1,6})\.")


def _model_and_task(container):
    """The configurations of model and task, nested or (fairseq 0.10 and older) flat; None if there is none."""
    config = plain(container)
    if config.get("model") is not None and config.get("task") is not None:
        return plain(config["model"]), plain(config["task"])
    if "arch" not in config:
        return None
    keys = {"arch", "w2v_args", "normalize", *_CONTENTVEC_KEYS, *KNOWN_KEYS}
    return {key: value for key, value in config.items() if key in keys}, config  # not all options of that run


def _configs(state):
    for key in ("cfg", "args"):
        if state.get(key) is not None:
            found = _model_and_task(state[key])
            if found:
                return found
    return None


def _model_name(model):
    return model.get("_name") or model.get("arch")


def recognises(state: dict[str, Any]) -> bool:
    configs = _configs(state)
    known = configs is not None and isinstance(state.get("model"), dict)
    return known and _model_name(configs[0]) in ("hubert", "contentvec", *_FINE_TUNED)


def read(path: str, state: dict[str, Any], given: dict[str, Any]) -> Checkpoint:
    """-> Checkpoint with config {"kind": "hubert", "normalize", "sample_rate", and EncoderConfig's keys}."""
    model, task = _configs(state)
    tensors = state["model"]
    prefix = _FINE_TUNED.get(_model_name(model))
    if prefix is None:
        return checkpoint(path, model, task, tensors)
    tensors = {name[len(prefix) :]: tensor for name, tensor in tensors.items() if str(name).startswith(prefix)}
    if not tensors:
        raise CheckpointError(
            f"{path}: a fine-tuned HuBERT by its configuration, but no tensor is named {prefix}*; {AS_WRITTEN}"
        )
    pretraining = _model_and_task(model.get("w2v_args"))
    if pretraining is None:  # fine-tuning was stopped before fairseq wrote it into the configuration
        tensors = _encoder_tensors(tensors)
        given = {"normalize": _wave_of(path, task)["normalize"], **given}
        return Checkpoint(str(path), rebuild_config(path, tensors, given), tensors)
    if _model_name(pretraining[0]) != "hubert":
        raise CheckpointError(
            f"{path}: fine-tuned from a {_model_name(pretraining[0])}, not from a HuBERT; use one that was"
        )
    return checkpoint(path, *pretraining, tensors)


def _encoder_tensors(tensors):
    return one_weight_norm({name: tensor for name, tensor in tensors.items() if not str(name).startswith(_PRETRAINING)})


def _without_contentvec(config, tensors):
    """Drop the top layers of a ContentVec, which need the speaker and are used in training only; the rest is a HuBERT."""
    layers = config.get("encoder_layers", 12)
    if config.get("extractor_mode") == "group_norm_masked":  # the same norm, of each utterance alone, as ours is
        config["extractor_mode"] = "default"
    config = {key: value for key, value in config.items() if key not in _CONTENTVEC_KEYS}

    def above(name):
        layer = _LAYER.match(name)
        return name.startswith(_CONTENTVEC) or (layer and isinstance(layers, int) and int(layer[1]) >= layers)

    return config, {name: tensor for name, tensor in tensors.items() if not above(name)}


def checkpoint(path: str, model: dict[str, Any], task: dict[str, Any], tensors: dict[str, Any]) -> Checkpoint:
    """-> Checkpoint, from the configurations of model and task as built-in containers."""
    config = {key: value for key, value in model.items() if key not in ("_name", "arch")}
    tensors = _encoder_tensors(tensors)
    try:
        if "encoder_layers_1" in config:
            config, tensors = _without_contentvec(config, tensors)
        config["conv_feature_layers"] = repr(parse_conv_layers(config["conv_feature_layers"], path))
    except KeyError as error:
        raise CheckpointError(f"{path}: its configuration lacks {error}; {AS_WRITTEN}") from None
    return Checkpoint(str(path), {**config, "kind": "hubert", **_wave_of(path, task)}, tensors)


def _wave_of(path, task):
    """What the task says about the waveform: {"normalize": bool, "sample_rate": int}."""
    normalize, sample_rate = task.get("normalize", False), task.get("sample_rate", SAMPLE_RATE)
    if not isinstance(normalize, bool) or not isinstance(sample_rate, int):
        raise CheckpointError(
            f"{path}: task.normalize is {normalize!r} and task.sample_rate {sample_rate!r}; {AS_WRITTEN}"
        )
    return {"normalize": normalize, "sample_rate": sample_rate}


def variety(state: dict[str, Any]) -> str:
    """Name the kind of model, of those that this module reads, from configuration and tensors."""
    model, _ = _configs(state)
    if _model_name(model) in _FINE_TUNED:
        return "HuBERT, fine-tuned for recognition"
    if _model_name(model) == "contentvec" or any(str(name).startswith(_CONTENTVEC) for name in state["model"]):
        return "ContentVec"
    return "HuBERT"
