"""Small Spin models with random weights, and the checkpoint that training would write."""

import torch

from spin_fairseq.checkpoints.encoder import read_encoder
from spin_fairseq.encoders import SpeechEncoder
from spin_fairseq.spin_model import Spin, SpinConfig
from tests.small_hubert import hubert_checkpoint
from tests.small_wavlm import wavlm_config

HEAD = {"freeze": "cnn,pos", "codebook_sizes": [30, 7], "head_dims": [32]}


def hubert_config(normalize=False, **options):
    """The configuration of a small HuBERT encoder; options are HubertConfig's keys."""
    model = hubert_checkpoint(normalize, **options)["cfg"]["model"]
    config = {key: value for key, value in model.items() if key != "_name"}
    return {**config, "kind": "hubert", "normalize": normalize, "sample_rate": 16000}


def small_spin(kind="hubert", seed=1, encoder=None, **options):
    """-> a Spin model in eval mode, and its configuration. options are SpinConfig's; encoder: keys of the encoder's."""
    encoder_config = {"hubert": hubert_config, "wavlm": wavlm_config}[kind](**(encoder or {}))
    config = {**HEAD, **options, "encoder": encoder_config}
    torch.manual_seed(seed)
    model = Spin.from_config(config)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.dim() == 1:  # norms and biases that do something, as trained ones
                parameter += 0.1 * torch.randn(len(parameter))
        for prototypes in model.head.prototypes:
            prototypes *= 1.0 + torch.rand(len(prototypes), 1)  # stored rows grow in training
    return model.eval(), config


def save_spin(path, kind="hubert", **options):
    """-> the path, with a checkpoint as fairseq's trainer writes it."""
    model, config = small_spin(kind, **options)
    cfg = {
        "model": {"_name": "spin", "checkpoint": "/home/someone/hubert_base_ls960.pt", **config},
        "task": {"_name": "spin", "data": "/home/someone/librispeech", "perturbation": "praat"},
        "criterion": {"_name": "swapped_prediction", "epsilon": 0.02, "sinkhorn_iterations": 3, "temperature": 0.1},
        "optimization": {"max_update": 5000, "lr": [0.0001]},
    }
    state = {
        "args": None,
        "cfg": cfg,
        "model": model.state_dict(),
        "extra_state": {"train_iterator": {"epoch": 3}},
        "optimizer_history": [
            {"num_updates": 5000, "criterion_name": "x", "lr_scheduler_state": {}, "optimizer_name": "x"}
        ],
    }
    torch.save(state, path)
    return path


def untrained_spin(checkpoint, **options):
    """A Spin with a new head on a pretrained encoder. options: of SpinConfig."""
    return Spin(SpinConfig(**options), read_encoder(checkpoint).build(SpeechEncoder))
