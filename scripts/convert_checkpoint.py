#!/usr/bin/env python3
"""Write a checkpoint of any format that this package reads in the format of another tool.

    python scripts/convert_checkpoint.py checkpoint_last.pt spin_hubert.pt --to hubert
    python scripts/convert_checkpoint.py spin_hubert_256.ckpt spin_hf --to hf
    python scripts/convert_checkpoint.py WavLM-Base.pt wavlm.onnx --to onnx

    hubert   fairseq's HubertModel: fairseq without this package, its scripts, tools that load hubert_base_ls960.pt
    hf       a folder for transformers' AutoModel, head and codebook beside it, with an example that gives units
    s3prl    for s3prl's hubert_custom, or wavlm_local
    kmeans   the codebook for fairseq's dump_km_label.py, on embeddings of dump_units.py --output embeddings
    spin     one self-contained file of this package
    onnx     for onnxruntime: a wave in, units and features out

Nothing in the source is executed. Every export says what it holds: base, layer, codebooks, recipe, data, version.
"""

import argparse
import json
import sys

from spin_fairseq.checkpoints.writers import WRITERS, convert
from spin_fairseq.errors import SpinError


def main(argv=None):
    parser = argparse.ArgumentParser(
        usage="python scripts/convert_checkpoint.py SOURCE DESTINATION --to {" + ",".join(WRITERS) + "}",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("source", help="a checkpoint file, or a folder of the transformers library")
    parser.add_argument("destination", help="the file to write; for hf, a folder that is not there yet")
    parser.add_argument("--to", required=True, choices=WRITERS, help="the format")
    args = parser.parse_args(argv)
    try:
        about = convert(args.source, args.destination, args.to)
    except SpinError as error:
        sys.exit(f"error: {error}")
    print(f"{args.destination}: {json.dumps(about, indent=2)}")


if __name__ == "__main__":
    main()
