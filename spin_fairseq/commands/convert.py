"""Convert a checkpoint, of any format that this package reads, to the format of another tool.

    hubert   fairseq's HubertModel: for fairseq without this package, its scripts, and tools that load hubert_base_ls960.pt
    hf       a folder for transformers' AutoModel, with head and codebook, and an example that computes units
    s3prl    for s3prl's hubert_custom, or wavlm_local
    kmeans   the codebook for fairseq's dump_km_label.py, on embeddings of `spin-fairseq units --output embeddings`
    spin     one self-contained file of this package
    onnx     for onnxruntime: a wave in, units and features out

Nothing in the source is executed. Every export says what it holds: base, layer, codebooks, recipe, data, version.
"""

from __future__ import annotations

import json
from argparse import Namespace

from spin_fairseq.files import refuse_to_replace

from .parser import Parser

EXAMPLES = (
    "spin-fairseq convert checkpoint_last.pt --to hubert --out spin_hubert.pt",
    "spin-fairseq convert spin_hubert_256.ckpt --to hf --out spin_hf",
    "spin-fairseq convert checkpoint_last.pt --to spin --codebook 0 --out primary_codebook.pt",
    "spin-fairseq convert WavLM-Base.pt --to onnx --out wavlm.onnx",
)
KEPT = "nothing was written"
FORMATS = ("hubert", "hf", "s3prl", "kmeans", "spin", "onnx")


def add_arguments(parser: Parser) -> None:
    parser.add_argument("checkpoint", metavar="CHECKPOINT", help="a file, or a folder of the transformers library")
    parser.add_argument("--to", required=True, choices=FORMATS, help="the format to write")
    parser.add_argument("--out", required=True, metavar="FILE", help="file to write; for hf, a folder")
    parser.add_argument(
        "--codebook", type=int, metavar="I",
        help="keep this one of several (default: all; units are those of the first, 0)",
    )  # fmt: skip
    parser.add_encoder()
    parser.add_overwrite("replace the file, or the folder of an earlier export")


def run(args: Namespace) -> int | None:
    from spin_fairseq.checkpoints.given import encoder_keys
    from spin_fairseq.checkpoints.writers import convert, export_set_aside

    refuse_to_replace([args.out], args.overwrite)
    with export_set_aside(args.out):
        about = convert(args.checkpoint, args.out, args.to, encoder_keys(args.encoder), args.codebook)
    args.say(f"{args.out}: {json.dumps(about, indent=2)}")
