"""What pretrain_base.py and measure_base.py have in common: manifests, phone labels, MFCCs and a HuBERT's layers."""

import os
import sys
from pathlib import Path

import numpy as np
import soundfile
import torch
from sklearn.cluster import MiniBatchKMeans
from tqdm import tqdm

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))  # for spin_fairseq

SAMPLE_RATE = 16_000
HOP = 160  # samples: MFCC frames and phone labels, 100 Hz
SUFFIXES = (".flac", ".ogg", ".wav")


def speech_files(speech, split):
    """The audio of one split of a LibriSpeech-shaped folder, sorted."""
    paths = sorted(path for path in (speech / split).rglob("*") if path.suffix in SUFFIXES)
    if not paths:
        raise SystemExit(
            f"no {', '.join(SUFFIXES)} below {speech / split}: --speech takes LibriSpeech-shaped folders with train, the first with dev"
        )
    return paths


def write_manifest(folders, split, target):
    """fairseq's manifest of one split of several folders of speech: their common root, then `relative path<TAB>samples`."""
    root = Path(os.path.commonpath(folders))
    paths = [path for folder in folders for path in speech_files(folder, split)]
    rows = [f"{path.relative_to(root)}\t{soundfile.info(path).frames}" for path in paths]
    target.write_text("\n".join([str(root), *rows]) + "\n")


def read_manifest(path):
    """The audio paths of a fairseq manifest, in order."""
    root, *rows = path.read_text().splitlines()
    return [Path(root) / row.split("\t")[0] for row in rows]


def read_wave(path):
    """(samples,) float32 in [-1, 1]."""
    wave, rate = soundfile.read(path, dtype="float32")
    if rate != SAMPLE_RATE or wave.ndim != 1:
        raise SystemExit(f"{path}: {rate} Hz, {wave.ndim} dimensions; 16 kHz mono is needed")
    return wave


def read_phones(path):
    """{utterance: [label of each 10 ms]}."""
    rows = (row.rstrip("\n").split("\t") for row in open(path))
    return {utterance: labels.split(",") for utterance, labels in rows}


def mfcc_39(wave):
    """(samples // 160, 39) MFCCs, deltas and double deltas; 25-ms windows, frame t centred at sample 160 t + 80.

    The size is that of HuBERT's first iteration (Hsu et al. 2021, section IV.B); the centres are those of the phone labels.
    """
    import librosa

    padded = np.pad(wave, 120, mode="reflect")
    mfcc = librosa.feature.mfcc(y=padded, sr=SAMPLE_RATE, n_mfcc=13, n_fft=400, hop_length=HOP, n_mels=40, center=False)
    deltas = [librosa.feature.delta(mfcc, order=order, mode="nearest") for order in (1, 2)]
    return np.concatenate([mfcc, *deltas]).T.astype(np.float32)


def mfcc_features(paths):
    """[(frames, 39)] of each file, 100 Hz."""
    return [mfcc_39(read_wave(path)) for path in tqdm(paths, desc="MFCC", unit="file", mininterval=5)]


def normalize_mfcc(features, reference):
    """MFCCs for clustering: less the mean of each utterance, each dimension over the root of its standard deviation.

    features, reference: [(frames, 39)]; the deviations are those of the reference. As they come, the energy rules
    k-means' distances and the mean is mostly the speaker's and the channel's; with all dimensions of one size, the
    noisy high cepstra and deltas count too much. The root is in between.
    """
    scale = np.concatenate([array - array.mean(axis=0) for array in reference]).std(axis=0) ** -0.5
    return [(array - array.mean(axis=0)) * scale for array in features]


def load_hubert(checkpoint):
    """A fairseq HuBERT in eval mode."""
    import spin_fairseq  # noqa: F401  lets torch >= 2.6 load fairseq's classes
    from fairseq import checkpoint_utils

    (model,), _, _ = checkpoint_utils.load_model_ensemble_and_task([str(checkpoint)])
    return model.eval()


@torch.no_grad()
def hubert_features(model, paths, layers):
    """{layer: [(frames, dim)]}: the outputs of the given layers (from 1), 50 Hz, one file at a time.

    One pass gives all layers: a hook reads what `extract_features(output_layer=layer)` would return. It runs where the model is.
    """
    device = next(model.parameters()).device
    outputs = {layer: [] for layer in layers}
    seen = {}

    def keep(layer):
        return lambda _module, _inputs, output: seen.update({layer: output[0]})

    hooks = [model.encoder.layers[layer - 1].register_forward_hook(keep(layer)) for layer in layers]
    for path in tqdm(paths, desc="HuBERT", unit="file", mininterval=5):
        wave = torch.from_numpy(read_wave(path)).unsqueeze(0).to(device)
        last, _ = model.extract_features(wave, padding_mask=None, mask=False)
        for layer in layers:  # cut: inside, fairseq pads to an even number of frames
            outputs[layer].append(seen[layer][: last.shape[1], 0].cpu().numpy().copy())
    for hook in hooks:
        hook.remove()
    return outputs


def fit_kmeans(features, clusters, seed, most_frames=None, starts=5):
    """k-means of a list of (frames, dim) arrays, with fairseq's simple_kmeans settings but for the batch size.

    most_frames: fit on so many, drawn at random, where there are more. starts: the best of so many first batches.
    """
    frames = np.concatenate(features)
    if most_frames and len(frames) > most_frames:
        frames = frames[np.random.default_rng(seed).choice(len(frames), most_frames, replace=False)]
    kmeans = MiniBatchKMeans(
        clusters,
        batch_size=10_000,
        max_iter=100,
        n_init=starts,
        max_no_improvement=50,
        tol=0.0,
        reassignment_ratio=0.0,
        random_state=seed,
    )
    return kmeans.fit(frames)
