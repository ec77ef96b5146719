#!/usr/bin/env python3
"""A small WavLM for the demo, out of its small HuBERT. `make demo BASE=wavlm` runs it.

    python examples/demo/make_wavlm_base.py outputs/demo_wavlm/wavlm_demo.pt

It has HuBERT's weights. What WavLM has beyond them, the relative position bias and its gates, starts as in WavLM's
pre-training: at random and small, so that the features are near those of HuBERT. No WavLM objective was trained: the file
shows that the whole path runs, not what a pre-trained WavLM gains. It has the form of Microsoft's checkpoints.
"""

import argparse
import sys
from pathlib import Path

import torch
from places import BASE, REPOSITORY

sys.path.insert(0, str(REPOSITORY))

import spin_fairseq  # noqa: E402,F401
from spin_fairseq.checkpoints.encoder import read_encoder  # noqa: E402
from spin_fairseq.encoders import SpeechEncoder  # noqa: E402
from spin_fairseq.errors import CheckpointError  # noqa: E402
from spin_fairseq.files import whole_file  # noqa: E402

NEW_KEYS = {"relative_position_embedding": True, "gru_rel_pos": True, "num_buckets": 320, "max_distance": 800}
NEW_TENSORS = ("relative_attention_bias.weight", "grep_a", "grep_linear.weight", "grep_linear.bias")


def wavlm_of(hubert, seed=7122):
    """hubert: Checkpoint of a HuBERT -> a WavLM with its weights, as Microsoft would save it: {"cfg", "model"}."""
    torch.manual_seed(seed)
    config = {**hubert.config, **NEW_KEYS, "kind": "wavlm"}
    tensors = SpeechEncoder(config).state_dict()
    kept = {name: tensor for name, tensor in tensors.items() if name.endswith(NEW_TENSORS)}
    cfg = {key: value for key, value in config.items() if key not in ("kind", "sample_rate")}
    return {"cfg": cfg, "model": {**hubert.state_dict, **kept}}


def main(argv=None):
    parser = argparse.ArgumentParser(
        usage="python examples/demo/make_wavlm_base.py OUT",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("out", type=Path, help="the checkpoint to write")
    parser.add_argument("--hubert", type=Path, default=BASE, help="default: the demo's")
    args = parser.parse_args(argv)

    with whole_file(args.out, CheckpointError) as temporary, open(temporary, "wb") as file:
        torch.save(wavlm_of(read_encoder(args.hubert)), file)


if __name__ == "__main__":
    main()
