"""The recipe's training on made-up speech and a base with random weights: by fairseq's trainer with this package, and as the
original code does it."""

import numpy as np
import soundfile
import torch

from benchmark_training_step import SIZES, freeze_as_reference, reference_hubert, reference_wavlm
from measuring.fairseq_trainer import make_trainer

SAMPLE_RATE = 16000
PRECISIONS = {
    "float32": ["common.fp16=false"],
    "fp16": ["common.fp16=true"],
    "amp": ["common.fp16=false", "common.amp=true"],
    "bf16": ["common.fp16=false", "common.bf16=true"],
}
AUTOCAST = {"float32": None, "fp16": torch.float16, "amp": torch.float16, "bf16": torch.bfloat16}


def voice(samples, rng):
    """A hum with a moving pitch, silences and noise: enough for pitch marks to be found and views to be changed."""
    time = np.arange(samples) / SAMPLE_RATE
    pitch = rng.uniform(90, 220) * (1 + 0.2 * np.sin(2 * np.pi * rng.uniform(0.3, 1.0) * time))
    phase = 2 * np.pi * np.cumsum(pitch) / SAMPLE_RATE
    wave = sum(np.sin(phase * harmonic) / harmonic for harmonic in range(1, 12))
    loud = np.sin(2 * np.pi * rng.uniform(1.0, 2.0) * time) > -0.5
    return (0.1 * wave * loud + 0.005 * rng.standard_normal(samples)).astype(np.float32)


def write_speech(folder, recordings, seconds, copies=1):
    """Write WAV files and train.tsv, dev.tsv. seconds: the shortest and the longest recording, evenly spread. -> the folder.

    copies: of each recording, as links: utterances enough for a long epoch, in little space.
    """
    rng = np.random.default_rng(0)
    folder.mkdir(parents=True, exist_ok=True)
    rows, track = [], voice(int(4 * seconds[1] * SAMPLE_RATE), rng)
    for index, length in enumerate(np.linspace(*seconds, recordings)):
        samples = int(length * SAMPLE_RATE)
        begin = rng.integers(len(track) - samples)
        names = [f"{index}-{copy}-1.wav" for copy in range(copies)]
        soundfile.write(folder / names[0], track[begin : begin + samples], SAMPLE_RATE)
        for name in names[1:]:
            (folder / name).hardlink_to(folder / names[0])
        rows += [f"{name}\t{samples}\n" for name in names]
    (folder / "train.tsv").write_text(f"{folder}\n" + "".join(rows))
    (folder / "dev.tsv").write_text(f"{folder}\n" + "".join(rows[:4]))
    return folder


def write_base(path, kind, size):
    """Write a checkpoint of fairseq's HuBERT, or of transformers' WavLM, with random weights. -> the path."""
    from spin_fairseq.encoders.conv_layers import parse_conv_layers

    torch.manual_seed(0)
    sizes = SIZES[size]
    make = {"hubert": reference_hubert, "wavlm": reference_wavlm}[kind]
    model = make(sizes, parse_conv_layers(sizes["conv_feature_layers"]))[0]
    if kind == "wavlm":
        model.save_pretrained(path)
    else:
        cfg = {"_name": "hubert", **sizes, "label_rate": 50.0}
        task = {"_name": "hubert_pretraining", "normalize": False, "sample_rate": SAMPLE_RATE}
        torch.save({"args": None, "cfg": {"model": cfg, "task": task}, "model": model.state_dict()}, path)
    return path


def recipe_trainer(base, speech, precision, *, kind, layers, device, batch_seconds, codebook, workers, overrides=()):
    """-> fairseq's trainer of that kind's recipe. layers: of the encoder; the last two are trained."""
    return make_trainer([
        *PRECISIONS[precision], f"common.cpu={str(device == 'cpu').lower()}", f"task.data={speech}",
        f"model.checkpoint={base}", f"model.freeze=[cnn,pos,1..{layers - 2}]", f"model.codebook_sizes=[{codebook}]",
        f"dataset.max_tokens={int(batch_seconds * SAMPLE_RATE)}", f"dataset.num_workers={workers}",
        "task.min_sample_size=800", *overrides,
    ], f"spin_{kind}_base")  # fmt: skip


def reference_step(kind, size, sample, precision, device, codebook):
    """-> a function: the step of the original code on a batch of ours, under autocast: frozen parts without a graph."""
    from spin_fairseq.encoders.conv_layers import parse_conv_layers
    from spin_fairseq.modules.prototypes import PrototypeHead
    from spin_fairseq.modules.swapped_prediction import swapped_prediction_loss

    torch.manual_seed(0)
    sizes = SIZES[size]
    convolutions = parse_conv_layers(sizes["conv_feature_layers"])
    make = {"hubert": reference_hubert, "wavlm": reference_wavlm}[kind]
    encoder, layers, frozen, encode = make(sizes, convolutions)
    head = PrototypeHead(sizes["encoder_embed_dim"], [256], [codebook])
    model = torch.nn.ModuleList([encoder, head]).to(device).train()
    trained = [*layers[-2:].parameters(), *head.parameters()]
    freeze_as_reference(layers, frozen)
    optimizer = torch.optim.Adam(trained, lr=1e-4)
    source = sample["net_input"]["source"].float()
    lengths = torch.tensor(sample["lengths"] * 2, device=device)
    mask = torch.arange(source.size(1), device=device) >= lengths[:, None]
    frames, width = lengths[: len(lengths) // 2], source.size(1)
    for _, kernel, stride in convolutions:
        frames, width = (frames - kernel) // stride + 1, (width - kernel) // stride + 1
    valid = (torch.arange(width, device=device) < frames[:, None]).flatten()
    dtype = AUTOCAST[precision]

    def step():
        with torch.autocast(device, dtype=dtype or torch.bfloat16, enabled=dtype is not None):
            view_1, view_2 = (half.flatten(0, 1) for half in head(encode(source, mask))[0].chunk(2))
            loss = swapped_prediction_loss(view_1, view_2, valid=valid).loss
        model.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(trained, 10.0)
        optimizer.step()

    return step
