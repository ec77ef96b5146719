"""Say what a checkpoint is: its format, the encoder and its size, the layer and codebooks of a Spin, how it was trained,
what it can be converted to, and which command to try next. It knows every format that this package reads: fairseq's
HuBERT, ContentVec, Microsoft's WavLM, folders of transformers, s3prl, torchaudio, the original code's Spin, trainings and
exports of this package. No model is built, and nothing in the file is executed. Exit status 1 for a file that is none of these.
"""

from __future__ import annotations

import json
import shlex
import textwrap
from argparse import Namespace
from typing import Any

from .parser import Parser

EXAMPLES = (
    "spin-fairseq inspect hubert_base_ls960.pt",
    "spin-fairseq inspect checkpoint_last.pt --json",
)
KEPT = "nothing was written"
TITLES = {"hubert": "HuBERT", "wavlm": "WavLM"}


def add_arguments(parser: Parser) -> None:
    parser.add_argument("checkpoint", metavar="FILE", help="a checkpoint, or a folder of the transformers library")
    parser.add_encoder()
    parser.add_argument("--json", action="store_true", help="print a JSON object, for programs")


def run(args: Namespace) -> int | None:
    from spin_fairseq.checkpoints.given import encoder_keys
    from spin_fairseq.checkpoints.inspection import inspect_checkpoint

    found = inspect_checkpoint(args.checkpoint, encoder_keys(args.encoder))
    print(json.dumps({**found, "next": following(found)}, indent=2) if args.json else page(found))


def page(found: dict[str, Any]) -> str:
    """One screen."""
    encoder, spin, made = found["encoder"], found["spin"], dict(found["made"])
    rows = [
        ("format", found["format"]),
        ("encoder", f"{TITLES[encoder['kind']]}, {encoder['layers']} layers of {encoder['width']} (feed-forward "
         f"{encoder['feed_forward']}, {encoder['heads'] or 'unknown number of'} heads), {encoder['form']}"),
        ("parameters", f"{encoder['parameters']:,}, {encoder['number_format']}"),
        ("input", f"{encoder['sample_rate']:,} Hz, {'normalised to mean 0 and variance 1' if encoder['normalised_input'] else 'not normalised'}"),
        ("frames", f"{encoder['frames_per_second']:g} a second, one for each {encoder['samples_per_frame']} samples"),
    ]  # fmt: skip
    if spin:
        dims = " -> ".join(map(str, [encoder["width"], *spin["head_dims"]]))
        rows.append(("head", f"reads layer {spin['output_layer']}, {dims}"))
        rows.append(
            ("codebooks", f"{', '.join(map(str, spin['codebook_sizes']))} units; prototypes {spin['prototypes']}")
        )
    else:
        rows.append(("output", f"layers 1..{encoder['layers']}; no head and no codebook"))
    recipe = {**(made.pop("recipe", None) or {})}
    updates = recipe.pop("updates", made.get("updates"))
    for key in ("base", "data", "version", "optimiser_state", "pretraining_classes"):
        if made.get(key):
            rows.append((key.replace("_", " "), made[key]))
    if updates is not None:
        rows.append(("updates", updates))
    if recipe:
        rows.append(("recipe", ", ".join(f"{key} {value}" for key, value in recipe.items())))
    rows.append(("converts to", ", ".join(found["converts_to"]) + " (spin-fairseq convert FILE --to ...)"))
    rows += [("note", note) for note in found["notes"]]
    lines = [f"{found['file']}: {found['what']}, {found['bytes'] / 1e6:,.1f} MB", ""]
    for name, value in rows:
        lines += textwrap.wrap(
            str(value), 118, initial_indent=f"  {name:<21}", subsequent_indent=" " * 23, break_long_words=False
        )
    return "\n".join([*lines, "", f"Next: {following(found)}"])


def following(found: dict[str, Any]) -> str:
    """The command to try next with such a file."""
    file, layers = shlex.quote(found["file"]), found["encoder"]["layers"]
    if found["spin"]:
        return f"spin-fairseq units {file} my_audio --out units.km"
    if layers == 12 and not found["made"].get("codebook_sizes"):
        return f"spin-fairseq train spin_{found['encoder']['kind']}_base task.data=data/mine model.checkpoint={file}"
    layer = found["made"].get("layer", layers)
    return f"spin-fairseq units {file} my_audio --output features --layer {layer} --out features.npy"
