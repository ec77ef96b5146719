"""The names under which s3prl and torch.hub find the upstream: spin, and spin_SELECTION for each selection of expert.py.

torch.hub.load("examples/superb", "spin_disentangled", source="local", ckpt="checkpoint_last.pt")
"""

import functools
import importlib.util
import sys
from pathlib import Path

dependencies = ["torch"]


def _load_expert():
    """expert.py beside this file; other upstreams have files of that name too."""
    name = "spin_superb_expert"
    if name not in sys.modules:
        spec = importlib.util.spec_from_file_location(name, Path(__file__).resolve().with_name("expert.py"))
        sys.modules[name] = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(sys.modules[name])
    return sys.modules[name]


_expert = _load_expert()


def spin(ckpt, model_config=None, refresh=False, **options):
    """ckpt: a Spin checkpoint; options: as UpstreamExpert's. s3prl also gives model_config and refresh, for other models."""
    return _expert.UpstreamExpert(ckpt, **options)


def _with_selection(selection):
    @functools.wraps(spin)
    def upstream(ckpt, **options):
        return spin(ckpt, selection=selection, **options)

    return upstream


spin_hidden, spin_all_feats, spin_last, spin_disentangled, spin_logits, spin_probs = map(
    _with_selection, ["hidden", "all_feats", "last", "disentangled", "logits", "probs"]
)
UPSTREAMS = ["spin", *(f"spin_{selection}" for selection in _expert.SELECTIONS)]
