"""Spin as an upstream of s3prl, with the feature selections of the reference.

What s3prl asks of an upstream is a module that takes a list of waves and returns a dictionary, and `get_downsample_rates`.
It needs torch and spin_fairseq; s3prl itself only where it is used.
"""

import sys
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import nn

try:
    import spin_fairseq  # noqa: F401
except ImportError:  # not installed: this file lies in a checkout
    sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from spin_fairseq.checkpoints import load_spin

SELECTIONS = ("hidden", "all_feats", "last", "disentangled", "logits", "probs")


class UpstreamExpert(nn.Module):
    """ckpt: any Spin checkpoint that this package reads.

    selection: what `hidden_states` holds, of which s3prl learns a weighted sum:
        hidden        what enters the transformer, and the output of each layer up to the one that the head reads
        all_feats     the embeddings, then the same
        last          the output of the layer that the head reads
        disentangled  the embeddings: what the head makes of that layer
        logits        cosine with each prototype of the first codebook, divided by the temperature
        probs         their softmax
    temperature: of logits and probs; the recipe's by default.
    """

    def __init__(self, ckpt, selection="hidden", temperature=0.1, **_):
        super().__init__()
        if selection not in SELECTIONS:
            raise ValueError(f"selection is {selection!r}: choose one of {', '.join(SELECTIONS)}")
        self.model = load_spin(ckpt)
        self.selection = selection
        self.temperature = temperature

    def get_downsample_rates(self, key):
        """Samples from one frame to the next."""
        return self.model.encoder.hop

    def forward(self, wavs):
        """wavs: a list of (T,) at 16 kHz -> a dictionary: each selection under its name, `code` (B, frames), and

        `hidden_states`, a list of (B, frames, ...), the selection of this upstream; `last_hidden_state`, its last one.
        """
        encoder, head = self.model.encoder, self.model.head
        lengths = torch.tensor([len(wav) for wav in wavs], device=wavs[0].device)
        source = nn.utils.rnn.pad_sequence(wavs, batch_first=True)
        padding = torch.arange(source.size(1), device=source.device) >= lengths[:, None]
        hidden = encoder.encode_layers(source, padding, range(self.model.output_layer + 1))
        embeddings = head.embed(hidden[-1])
        logits = embeddings @ F.normalize(head.prototypes[0].float(), dim=-1).t() / self.temperature
        results = {
            "hidden": hidden,
            "all_feats": [embeddings, *hidden],
            "last": hidden[-1:],
            "disentangled": [embeddings],
            "logits": [logits],
            "probs": [logits.softmax(-1)],
        }
        states = results[self.selection]
        codes = head.scores(embeddings).argmax(-1)
        return {**results, "code": codes, "hidden_states": states, "last_hidden_state": states[-1]}
