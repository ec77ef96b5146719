"""Checkpoints in the form in which PyTorch Lightning wrote the reference's, a pickled wandb logger inside.

The library itself is not needed: classes of its names stand in for it while a file is written, and are gone afterwards.
"""

import sys
from contextlib import contextmanager
from types import ModuleType

import torch


@contextmanager
def lightning_classes():
    """Modules and classes of Lightning's names, importable inside the block: -> (WandbLogger, AttributeDict)."""
    loggers, parsing = "pytorch_lightning.loggers.wandb", "pytorch_lightning.utilities.parsing"
    if "pytorch_lightning" in sys.modules:  # inside such a block
        yield sys.modules[loggers].WandbLogger, sys.modules[parsing].AttributeDict
        return
    names = ["pytorch_lightning", "pytorch_lightning.loggers", "pytorch_lightning.utilities", loggers, parsing]
    sys.modules.update({name: ModuleType(name) for name in names})
    sys.modules[loggers].WandbLogger = type("WandbLogger", (), {"__module__": loggers})
    sys.modules[parsing].AttributeDict = type("AttributeDict", (dict,), {"__module__": parsing})
    try:
        yield sys.modules[loggers].WandbLogger, sys.modules[parsing].AttributeDict
    finally:
        for name in names:
            del sys.modules[name]


def hyper_parameters(encoder_type="HuBERT", codes=16, hid_dims=(12,), use_layer=3, **sections):
    """The reference's YAML file as a dictionary. sections: encoder, pred_head, loss: further keys of each."""
    return {
        "data": {"json_dir": "/gone", "splits": ["train-clean-100"], "sample_rate": 16000, "min_audio_len": 40000},
        "model": {
            "encoder": {
                "type": encoder_type,
                "use_layer": use_layer,
                "normalize": False,
                "feat_select": "x",
                "randomize_all": False,
                "randomize_layers": [],
                "freeze_all": False,
                "freeze_layers": ["pos", 0, 1],
                **sections.get("encoder", {}),
            },
            "pred_head": {
                "type": "DNN",
                "hid_dims": list(hid_dims),
                "dropout": 0,
                "activation": "ReLU",
                **sections.get("pred_head", {}),
            },
            "loss": {
                "type": "SwavVQDisentangle",
                "num_vars": codes,
                "epsilon": 0.02,
                "sinkhorn_iters": 3,
                "temp": 0.1,
                "l2_norm": True,
                "prob_ratio": 1.0,
                **sections.get("loss", {}),
            },
        },
        "optim": {"optimizer": {"name": "Adam", "args": {"lr": 1e-4, "weight_decay": 1e-6}}},
        "hparam": {"batch_len": 4096000, "val_batch_size": 8},
        "trainer": {"max_steps": 5000, "precision": 16, "accelerator": "gpu"},
        "checkpoint": {"save_last": True},
        "logger": {"project": "spin"},
    }


def save_lightning(path, state_dict, parameters):
    """Write {"state_dict": ..., "hyper_parameters": ...} with all that Lightning adds, the logger too."""
    with lightning_classes() as (logger_class, attribute_dict):
        logger = logger_class()
        logger.__dict__.update(
            _offline=False, _experiment=None, _wandb_init={"project": "spin"}, _logged_model_time={}, _of=[logger]
        )
        parameters = {**parameters, "trainer": {**parameters["trainer"], "logger": logger}}
        state = {
            "epoch": 12,
            "global_step": 5000,
            "pytorch-lightning_version": "1.9.5",
            "state_dict": state_dict,
            "loops": {"fit_loop": {"state_dict": {}, "epoch_progress": {"total": {"ready": 13}}}},
            "callbacks": {"ModelCheckpoint{'monitor': None}": {"best_model_score": None, "last_model_path": "/gone"}},
            "optimizer_states": [{"state": {0: {"step": torch.tensor(5000.0)}}, "param_groups": [{"lr": 1e-6}]}],
            "lr_schedulers": [{"last_epoch": 5000, "lr_lambdas": [None]}],
            "hparams_name": "config",
            "hyper_parameters": attribute_dict(parameters),
        }
        torch.save(state, path)
    return path


def reference_tensors(encoder, head, codebook):
    """{name: tensor} as the reference names them. encoder: likewise; head: [(weight, bias), ...]; codebook: (K, D)."""
    tensors = {f"encoder.model.{name}": tensor for name, tensor in encoder.items()}
    for index, (weight, bias) in enumerate(head):
        tensors.update({f"pred_head.layers.{index}.weight": weight, f"pred_head.layers.{index}.bias": bias})
    return {**tensors, "loss_module.codebook.weight": codebook}


def random_head(input_dim, hid_dims, codes):
    """-> linear layers, and a codebook whose rows are slightly off unit length, as Adam leaves them."""
    head = []
    for width in hid_dims:
        head.append((torch.randn(width, input_dim) / input_dim**0.5, 0.1 * torch.randn(width)))
        input_dim = width
    rows = torch.nn.functional.normalize(torch.randn(codes, input_dim), dim=1)
    return head, rows * (1 + 0.05 * torch.randn(codes, 1))
