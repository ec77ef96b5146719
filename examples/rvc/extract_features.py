#!/usr/bin/env python3
"""Layer features for voice conversion, one .npy an utterance, as trainers of the RVC kind make and read them.

    spin-fairseq convert checkpoint_last.pt --to hubert --out hubert_base.pt
    python examples/rvc/extract_features.py hubert_base.pt LOGS/1_16k_wavs LOGS/3_feature768 --layer 12
    python examples/rvc/extract_features.py hubert_base.pt LOGS/1_16k_wavs LOGS/3_feature256 --layer 9 --final-proj

The checkpoint is loaded as those tools load hubert_base.pt: by fairseq alone, without this package. Files that are there
already are left out, so an interrupted run resumes.
"""

import argparse
import os
import sys
from pathlib import Path

import numpy as np
import soundfile
import torch

for name, builtin in (("int", int), ("float", float), ("bool", bool)):
    if name not in np.__dict__:  # numpy dropped them, fairseq 0.12 uses them
        setattr(np, name, builtin)

SUFFIXES = (".wav", ".flac")


def load(checkpoint, device):
    """-> model, and whether it wants the wave normalised."""
    from fairseq import checkpoint_utils

    models, config, _ = checkpoint_utils.load_model_ensemble_and_task([str(checkpoint)], suffix="")
    return models[0].to(device).eval(), config.task.normalize


@torch.no_grad()
def features(model, wave, layer, final_proj, normalize):
    """wave: (T,) float32 at 16 kHz -> (frames, width) float32, one frame every 20 ms."""
    source = wave[None]
    if normalize:
        source = torch.nn.functional.layer_norm(source, source.shape)
    padding_mask = torch.zeros(source.shape, dtype=torch.bool, device=source.device)
    found = model.extract_features(source=source, padding_mask=padding_mask, output_layer=layer)[0]
    return (model.final_proj(found) if final_proj else found)[0].float()


def main(argv=None):
    parser = argparse.ArgumentParser(
        usage="python examples/rvc/extract_features.py hubert_base.pt WAVS OUT [options]",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("checkpoint", help="of spin-fairseq convert --to hubert, or any HuBERT of fairseq")
    parser.add_argument("wavs", type=Path, help="folder of 16 kHz mono files")
    parser.add_argument("out", type=Path, help="folder for NAME.npy of each")
    parser.add_argument("--layer", type=int, default=12, help="1-based (default 12)")
    parser.add_argument(
        "--final-proj", action="store_true", help="after the model's final projection; of Spin, its head's"
    )
    parser.add_argument("--device", default="cpu", help="cpu, cuda ... (default cpu)")
    args = parser.parse_args(argv)
    files = (
        sorted(path for path in args.wavs.iterdir() if path.suffix.lower() in SUFFIXES) if args.wavs.is_dir() else []
    )
    if not files:
        sys.exit(f"error: {args.wavs}: no folder with {' or '.join(SUFFIXES)} files")
    args.out.mkdir(parents=True, exist_ok=True)
    model, normalize = load(args.checkpoint, args.device)
    for path in files:
        target = args.out / f"{path.stem}.npy"
        if target.exists():
            continue
        wave, rate = soundfile.read(path, dtype="float32")
        if rate != 16000 or wave.ndim != 1:
            sys.exit(f"error: {path}: has {rate} Hz and shape {wave.shape} instead of 16000 Hz mono")
        found = features(model, torch.from_numpy(wave).to(args.device), args.layer, args.final_proj, normalize)
        if not torch.isfinite(found).all():
            sys.exit(f"error: {path}: its features are not finite")
        temporary = target.with_suffix(f".{os.getpid()}.tmp")
        with open(temporary, "wb") as file:
            np.save(file, found.cpu().numpy())
        os.replace(temporary, target)
    print(f"{len(files)} files in {args.out}")


if __name__ == "__main__":
    main()
