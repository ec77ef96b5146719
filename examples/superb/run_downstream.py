#!/usr/bin/env python3
"""s3prl's run_downstream, which then knows Spin.

    python examples/superb/run_downstream.py -m train -n spin_pr -u spin -k checkpoint_last.pt -d ctc \\
        -c S3PRL/downstream/ctc/libriphone.yaml

The arguments are s3prl's own. -u is spin, or spin_ and a selection: hidden, all_feats, last, disentangled, logits, probs;
-k the Spin checkpoint.
"""

import runpy
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))

import hubconf  # noqa: E402


def register():
    """Add the upstreams to s3prl's hub."""
    from s3prl import hub

    for name in hubconf.UPSTREAMS:
        setattr(hub, name, getattr(hubconf, name))


if __name__ == "__main__":
    try:
        register()
    except ImportError as error:
        sys.exit(f"error: s3prl is needed ({error}): pip install s3prl")
    runpy.run_module("s3prl.run_downstream", run_name="__main__", alter_sys=True)
