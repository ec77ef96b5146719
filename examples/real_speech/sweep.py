#!/usr/bin/env python3
"""What matters in a small training: many short trainings on features that are computed once, each beside the usual one.

    python examples/real_speech/sweep.py --speech SPEECH --base BASE.pt --seeds 1 2 3
    python examples/real_speech/sweep.py --speech SPEECH --base BASE.pt --only "strength=0.6" "epsilon=0.02 updates=200"

SPEECH is a folder as for compare.py: train, dev, phones/dev.tsv. Layers below the trained ones never change, so their output
is computed once: of each utterance of train (its first seconds) as it is and in a few other voices, of each of dev as it is,
and of some with another pitch or other formants. A training then takes a minute or two of one core, where compare.py takes
ten. It differs from a real one in this: frozen layers see no dropout, an utterance has few other voices, drawn once, and
crops are cut behind the frozen layers. So sweep.py serves to choose, compare.py to report.

It writes to --out (outputs/sweep): results.json, results.md, and features/ to be used again.
"""

import argparse
import dataclasses
import json
import sys
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import torch
from tqdm import tqdm

REPOSITORY = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(REPOSITORY), str(REPOSITORY / "examples" / "demo")]

from means import mean_text  # noqa: E402

from spin_fairseq.checkpoints import load_encoder  # noqa: E402
from spin_fairseq.data.voices import CORPUS, DRAWS, CorpusVoices, UniformVoices  # noqa: E402
from spin_fairseq.encoders.layout import Padded  # noqa: E402
from spin_fairseq.evaluation.corpus import load_corpus  # noqa: E402
from spin_fairseq.evaluation.metrics.distortions import change_formants, change_pitch  # noqa: E402
from spin_fairseq.evaluation.metrics.phones import PhoneMeasurement  # noqa: E402
from spin_fairseq.evaluation.metrics.robustness import deduplicated, edit_distance  # noqa: E402
from spin_fairseq.evaluation.metrics.speakers import SpeakerClassifierMeasurement, SpeakerMeasurement  # noqa: E402
from spin_fairseq.fingerprints import digest_of, file_fingerprint  # noqa: E402
from spin_fairseq.modules.codebook_start import start_from_kmeans  # noqa: E402
from spin_fairseq.modules.prototypes import PrototypeHead  # noqa: E402
from spin_fairseq.modules.swapped_prediction import swapped_prediction_loss  # noqa: E402
from spin_fairseq.perturbation.backends import build_backend, perturb  # noqa: E402
from spin_fairseq.preparation.speaker_pitch import estimate_speaker_pitch, write_speaker_pitch  # noqa: E402
from spin_fairseq.speech.audio import SAMPLE_RATE, read_audio  # noqa: E402
from spin_fairseq.speech.speaker_pitch import load_speaker_pitch  # noqa: E402

SECONDS = 6  # of a training utterance that are used
VOICES = 3  # other voices of an utterance
CROP = 200  # frames, 4 s
DISTORTED = 24  # utterances of dev
METRICS = {"pnmi": "PNMI ↑", "speaker_nmi": "speaker NMI ↓", "speaker_accuracy": "speaker accuracy ↓",
           "ued_pitch": "UED, pitch ↓", "ued_formants": "UED, formants ↓"}  # fmt: skip


@dataclass(frozen=True)
class Settings:
    """Of one training; the defaults are the usual one, which every other is compared with."""

    strength: float = 1.0  # of the voice change
    voice_draw: str = "uniform"  # or corpus
    lr: float = 5e-4
    epsilon: float = 0.05
    target_mix: float = 1.0
    layers: int = 3  # that are trained, the last ones
    prototypes: int = 100
    start: str = "kmeans"  # or random
    updates: int = 60
    seconds: int = 100  # of one view in a batch
    width: int = 64  # of the embeddings


TRIALS = ("updates=0", "voice_draw=corpus", "strength=0.4", "strength=0.6", "lr=0.0002", "lr=0.001", "epsilon=0.02", "epsilon=0.1",
          "target_mix=0.7", "layers=2", "layers=1", "prototypes=50", "prototypes=200", "seconds=50", "seconds=200",
          "updates=50", "updates=200", "start=random", "start=random lr=0.001")  # fmt: skip


def settings_of(text, usual=Settings()):
    """ "strength=0.6 lr=0.001" -> Settings: the usual ones, but for these."""
    kinds = {field.name: type(field.default) for field in dataclasses.fields(Settings)}
    pairs = [word.partition("=") for word in text.split()]
    wrong = [key for key, _, _ in pairs if key not in kinds]
    if wrong:
        raise SystemExit(f"error: there is no setting {wrong[0]!r}; choose of {', '.join(kinds)}")
    return dataclasses.replace(usual, **{key: kinds[key](value) for key, _, value in pairs})


class Speech:
    """Features of the speech, computed when they are first needed and kept in a folder.

    below: the layer whose output is kept; those above it may be trained.
    """

    def __init__(self, speech, base, folder, below):
        self.speech, self.folder, self.below = speech, folder, below
        self.encoder = load_encoder(base).eval()
        self.backend = build_backend("native")
        train, dev = load_corpus([speech / "train"]), load_corpus([speech / "dev"], [speech / "phones" / "dev.tsv"])
        self.manifest, self.names = train.manifests[0], train.speakers
        self.train = [train.path(index) for index in range(len(train))]
        self.dev = [dev.path(index) for index in dev.labelled]
        self.phones = [dev.phones[index] for index in dev.labelled]
        self.speakers = [dev.speakers[index] for index in dev.labelled]
        common = [file_fingerprint(str(base)), below]
        self.keys = {"train": [*common, train.audio_fingerprint, SECONDS, VOICES], "dev": [*common, dev.fingerprint()]}

    @cached_property
    def pitch(self):
        """What `spin-fairseq pitch` writes of the speakers of train."""
        table = self.folder / f"pitch_{digest_of(self.keys['train'])}.tsv"
        if not table.exists():
            ranges, _ = estimate_speaker_pitch([self.manifest], files_per_speaker=20, seed=1, workers=1)
            table.parent.mkdir(parents=True, exist_ok=True)
            write_speaker_pitch(table, ranges)
        return load_speaker_pitch(table)

    def views(self, strength, voice_draw="uniform"):
        """-> the utterances of train: a list of (1 + VOICES, frames, width) float16 arrays; the first row is as recorded."""
        if voice_draw not in DRAWS:
            raise SystemExit(f"error: voice_draw is {voice_draw!r}; choose of {', '.join(DRAWS)}")
        corpus = voice_draw == CORPUS
        voices = CorpusVoices(self.manifest, self.pitch, strength) if corpus else UniformVoices(strength)

        def rows(index, path):
            wave = read_audio(path)[: SECONDS * SAMPLE_RATE]
            draws = [voices.draw(np.random.default_rng([index, voice]), self.names[index]) for voice in range(VOICES)]
            changed = [perturb(self.backend, wave, SAMPLE_RATE, None, draw) for draw in draws]
            return np.stack([wave, *changed])

        return self._kept("train", f"train_{strength}" + f"_{voice_draw}" * corpus, self.train, rows)

    @cached_property
    def test(self):
        """-> the utterances of dev: arrays (1, frames, width)."""
        return self._kept("dev", "dev", self.dev, lambda index, path: read_audio(path)[None])

    @cached_property
    def distorted(self):
        """-> the same of some of them, with another pitch and with other formants: (2, frames, width)."""

        def rows(index, path):
            wave = read_audio(path)
            return np.stack([change(wave, np.random.default_rng(index)) for change in (change_pitch, change_formants)])

        return self._kept("dev", "distorted", self.dev[:: max(1, len(self.dev) // DISTORTED)][:DISTORTED], rows)

    @torch.inference_mode()
    def _kept(self, split, name, paths, rows):
        file = self.folder / f"{name}_{digest_of([self.keys[split], name])}.npz"
        if not file.exists():
            found = []
            for index, path in enumerate(tqdm(paths, desc=name, unit="file", mininterval=5)):
                waves = torch.from_numpy(rows(index, path).astype(np.float32))
                (layer,) = self.encoder.encode_layers(waves, layers=[self.below])
                found.append(layer.numpy().astype(np.float16))
            self.folder.mkdir(parents=True, exist_ok=True)
            part = file.with_suffix(".part.npz")
            np.savez(part, *found)
            part.rename(file)
        with np.load(file) as arrays:
            return [arrays[f"arr_{index}"] for index in range(len(paths))]


class Top(torch.nn.Module):
    """The layers of an encoder above `below`, and a head; those above the last `trained` ones are frozen."""

    def __init__(self, encoder, below, trained, head):
        super().__init__()
        self.layers = torch.nn.ModuleList(encoder.encoder.layers[below:])
        self.bias = encoder.encoder.position_bias
        self.head = head
        for layer in self.layers[: len(self.layers) - trained]:
            layer.requires_grad_(False)

    def features(self, x):
        """(B, frames, width) -> the same of the last layer."""
        layout = Padded()
        bias = self.bias(x.size(1), None)
        for layer in self.layers:
            x = layer(x, layout, None, bias)
        return x

    @torch.inference_mode()
    def embed(self, utterance):
        """(views, frames, width) float16 array -> embeddings, (views, frames, head's width) tensor."""
        return self.head.embed(self.features(torch.from_numpy(utterance.astype(np.float32))))


def crops(views, seconds, rng):
    """A batch of the two views of random stretches: (2B, CROP, width) tensor, the first B rows as recorded."""
    number = max(1, round(seconds * 50 / CROP))
    usable = [index for index, array in enumerate(views) if array.shape[1] >= CROP]
    first, second = [], []
    for index in rng.choice(usable, number, replace=number > len(usable)):
        begin = rng.integers(views[index].shape[1] - CROP + 1)
        stretch = views[index][:, begin : begin + CROP]
        first.append(stretch[0])
        second.append(stretch[1 + rng.integers(VOICES)])
    return torch.from_numpy(np.stack(first + second).astype(np.float32))


def train(speech, base, settings, seed):
    """-> Top, trained."""
    torch.manual_seed(seed)
    rng = np.random.default_rng(seed)
    encoder = load_encoder(base)
    top = Top(
        encoder, speech.below, settings.layers, PrototypeHead(encoder.width, [settings.width], [settings.prototypes])
    )
    views = speech.views(settings.strength, settings.voice_draw)
    if settings.start == "kmeans":
        top.eval()
        with torch.inference_mode():
            frames = torch.cat(
                [top.features(crops(views, 200, rng))[: 200 * 50 // CROP].flatten(0, 1) for _ in range(3)]
            )
        start_from_kmeans(top.head, frames.clone(), seed)
    top.train()
    optimizer = torch.optim.Adam([p for p in top.parameters() if p.requires_grad], settings.lr, weight_decay=1e-6)
    warm = max(1, settings.updates // 10)
    for update in range(settings.updates):
        factor = min((update + 1) / warm, (settings.updates - update) / max(1, settings.updates - warm))
        optimizer.param_groups[0]["lr"] = settings.lr * factor
        scores = top.head(top.features(crops(views, settings.seconds, rng)))[0].flatten(0, 1)
        one, other = scores.chunk(2)
        loss = swapped_prediction_loss(one, other, epsilon=settings.epsilon, target_mix=settings.target_mix).loss
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(top.parameters(), 10.0)
        optimizer.step()
    return top.eval()


def measure(top, speech, seed):
    """-> {metric: value} on dev."""
    embeddings = [top.embed(array)[0] for array in speech.test]
    clusters = len(top.head.prototypes[0])
    with torch.inference_mode():
        units = [top.head.scores(rows).argmax(-1).numpy() for rows in embeddings]
        changed = [top.head.scores(top.embed(array)).argmax(-1).numpy() for array in speech.distorted]
    step = max(1, len(units) // DISTORTED)
    plain = [deduplicated(row) for row in units[::step][: len(changed)]]
    ued = np.array([
        [edit_distance(row, deduplicated(other)) / len(full) for other in pair]
        for row, full, pair in zip(plain, units[::step], changed)
    ]).mean(0)  # fmt: skip
    one = np.ones((1, len(units)))
    phones = PhoneMeasurement(speech.phones, units, clusters).values(one)
    speakers = SpeakerMeasurement(speech.speakers, units, clusters).values(one)
    classifier = SpeakerClassifierMeasurement(speech.speakers, [rows.numpy() for rows in embeddings], seed=seed)
    found = {"pnmi": phones["pnmi"], "speaker_nmi": speakers["speaker_nmi"],
             "speaker_accuracy": classifier.values(one)["speaker_accuracy"]}  # fmt: skip
    return {**{key: float(value[0]) for key, value in found.items()}, "ued_pitch": ued[0], "ued_formants": ued[1]}


def table(results, seeds):
    """results: {text of settings: {seed: metrics}}, "" is the usual one -> rows of Markdown: the usual, differences of others."""
    rows = [f"| | {' | '.join(METRICS.values())} |", "|---" * (1 + len(METRICS)) + "|"]
    for text, of_seed in results.items():
        usual = not text
        cells = (
            mean_text([of_seed[s][key] - (0 if usual else results[""][s][key]) for s in seeds], "" if usual else "+")
            for key in METRICS
        )
        rows.append(f"| {text or 'usual'} | {' | '.join(cells)} |")
    return rows


def main(argv=None):
    parser = argparse.ArgumentParser(
        usage="python examples/real_speech/sweep.py --speech SPEECH --base BASE.pt [options]",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--speech", type=Path, required=True, help="LibriSpeech-shaped folder, as for compare.py")
    parser.add_argument("--base", type=Path, required=True, help="a HuBERT or WavLM")
    parser.add_argument("--out", type=Path, default=REPOSITORY / "outputs" / "sweep", help="default outputs/sweep")
    parser.add_argument("--seeds", type=int, nargs="+", default=[1], help="default 1")
    parser.add_argument("--only", nargs="+", metavar="SETTINGS", default=TRIALS, help="trials, beside the usual one")
    parser.add_argument("--usual", default="", metavar="SETTINGS", help="changes of the usual settings themselves")
    args = parser.parse_args(argv)
    usual = settings_of(args.usual)
    trials = {text: settings_of(text, usual) for text in ("", *args.only)}
    layers = load_encoder(args.base).num_layers
    below = layers - max(settings.layers for settings in trials.values())
    if below < 0:
        parser.error(f"the base has {layers} layers; no trial can train more")
    speech = Speech(args.speech.resolve(), args.base, args.out / "features", below)
    file = args.out / "results.json"
    kept = json.loads(file.read_text()) if file.exists() else {}
    results = {}
    for text, settings in trials.items():
        for seed in args.seeds:
            key = digest_of([speech.keys, dataclasses.asdict(settings), seed])
            if key not in kept:
                kept[key] = measure(train(speech, args.base, settings, seed), speech, seed)
                file.write_text(json.dumps(kept, indent=1) + "\n")
            results.setdefault(text, {})[seed] = kept[key]
            print(
                f"{text or 'usual'}, seed {seed}: " + ", ".join(f"{k} {v:.3f}" for k, v in kept[key].items()),
                flush=True,
            )
    lines = table(results, args.seeds)
    (args.out / "results.md").write_text("\n".join(lines) + "\n")
    print(*lines, sep="\n")


if __name__ == "__main__":
    main()
