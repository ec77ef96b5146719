"""Task "spin": connects data, model and criterion for fairseq."""

import logging
import os
from typing import Any
from collections.abc import Sequence

import numpy as np
import torch
from fairseq.distributed.utils import get_data_parallel_group, get_data_parallel_rank, get_data_parallel_world_size
from fairseq.logging import metrics
from fairseq.tasks import FairseqTask, register_task
from omegaconf import open_dict

from .. import compat
from ..compat.paths import launch_path
from ..data.acoustics import AcousticsOfViews
from ..data.device_views import complete_views
from ..data.epoch_batches import EpochBatches
from ..speech.acoustic_pieces import AcousticPieces, number_of_classes
from ..speech.audio import SAMPLE_RATE
from ..speech.manifest import load_manifest
from ..speech.phone_labels import load_phone_labels
from ..speech.pitch_mark_cache import PitchMarkCache
from ..speech.speaker_pitch import load_speaker_pitch
from ..data.two_view_dataset import TwoViewDataset, long_enough
from ..data.voices import CORPUS, CorpusVoices, UniformVoices
from ..errors import ConfigError, PhoneLabelError
from ..evaluation.clusters import align, quality_of_counts
from ..extraction.batches import sample_features
from ..modules.codebook_start import broadcast_weights, start_from_kmeans
from ..modules.scaled_updates import scale_updates
from ..perturbation.backends import build_backend
from .collapse import CollapseWatch
from .config import FEWEST_SAMPLES, SpinTaskConfig, check
from .skipped import SkippedUtterances

logger = logging.getLogger(__name__)

VALID_MAX_SAMPLES = 160000  # the reference validates on the first 10 s of each utterance
FEWEST_FRAMES_PER_PROTOTYPE = 2
FRAMES_PER_PROTOTYPE_TO_START = 150


def _samples_of_a_frame(conv_layers):
    """How many samples a single frame sees. conv_layers: [(width, kernel, stride), ...]."""
    samples = 1
    for _, kernel, stride in reversed(conv_layers):
        samples = (samples - 1) * stride + kernel
    return samples


@register_task("spin", dataclass=SpinTaskConfig)
class SpinTask(FairseqTask):
    """Loads two-view datasets, builds a model whose checkpoints need no other file, and measures PNMI on validation splits."""

    source_dictionary = target_dictionary = None  # there is no text

    def __init__(self, cfg: Any):
        super().__init__(cfg)
        check(cfg)
        self._skipped = {}
        self._collapse = CollapseWatch(cfg.collapse_share, cfg.collapse_updates)
        self._codebook_sizes = []
        self._pair_counts = {}
        self._warned_of_small_batch = False
        self._fewest_samples = FEWEST_SAMPLES  # of an utterance
        self._scaled_optimizer = None
        self._frame_samples = None  # from a frame to the next, once there is a model
        self._batches = {}  # of each dataset, of the latest epoch

    @classmethod
    def setup_task(cls, cfg: Any, **kwargs: Any) -> "SpinTask":
        """Called by fairseq at the start of a training: applies the patches of `compat`, and makes the task."""
        compat.apply()
        return cls(cfg)

    @property
    def _train(self):
        """Name of the training split. Not read in __init__, because the task of a checkpoint has no dataset.train_subset."""
        return os.path.basename(self.cfg.train_subset)

    def launch_path(self, path: str | None) -> str | None:
        """Join `path` (str or None) to the folder where the command was given: hydra, and ranks that fairseq starts, run elsewhere."""
        return launch_path(self.cfg, path)

    # --- data ---------------------------------------------------------------------------------------------------

    def load_dataset(self, split: str, combine: bool = False, **kwargs: Any) -> None:
        """Read a split's manifest, pitch ranges and phone labels. Raises the errors of `errors.py`."""
        cfg = self.cfg
        if cfg.seed < 0:  # not in __init__: a checkpoint's task has no common.seed
            raise ConfigError(f"common.seed is {cfg.seed}: it must be at least 0")
        train = split == cfg.train_subset
        manifest = load_manifest(self.launch_path(cfg.data), split)
        pitch = load_speaker_pitch(self.launch_path(cfg.speaker_pitch))
        if cfg.speaker_pitch is not None:
            for speaker in sorted(manifest.speakers()):
                pitch.range(speaker)
        self.datasets[split] = TwoViewDataset(
            manifest,
            pitch=pitch,
            backend=build_backend(cfg.perturbation),
            seed=cfg.seed,
            train=train,
            min_samples=max(cfg.min_sample_size, self._fewest_samples) if train else self._fewest_samples,
            max_samples=cfg.max_sample_size if train else VALID_MAX_SAMPLES,
            phones=None if train else self._load_phones(manifest, split),
            both_views=cfg.perturb_both_views,
            voices=self._voices(manifest, pitch, train),
            marks=self._open_marks(split, manifest, pitch),
            on_device=cfg.perturb_on == "device",
            crop_multiple=cfg.crop_multiple,
            acoustics=AcousticsOfViews(
                cfg.noise,
                cfg.noise_snr,
                cfg.noise_probability,
                cfg.reverberation,
                cfg.reverberation_probability,
                self.launch_path,
            ),
            pieces=self._open_pieces(split),
        )
        self._skipped[os.path.basename(split)] = SkippedUtterances(split, len(self.datasets[split]), cfg.max_bad_share)

    def _voices(self, manifest, pitch, train):
        if self.cfg.voice_draw == CORPUS:
            return CorpusVoices(manifest, pitch, self.cfg.perturbation_strength, train=train)
        return UniformVoices(self.cfg.perturbation_strength)

    def _open_marks(self, split, manifest, pitch):
        if self.cfg.pitch_marks is None:
            return None
        marks = PitchMarkCache.open(self.launch_path(self.cfg.pitch_marks), split)
        logger.info(marks.summary(marks.survey(manifest, pitch.range)))
        return marks

    def _open_pieces(self, split):
        folder = self.launch_path(self.cfg.pieces)
        if folder is None:
            return None
        if split != self.cfg.train_subset and not AcousticPieces.there(folder, split):
            logger.info(f"{folder}: has no pieces of {split!r}: its validation is without the auxiliary loss")
            return None
        pieces = AcousticPieces(folder, split)
        if self._frame_samples not in (None, pieces.frame_samples):
            raise ConfigError(
                f"task.pieces={folder}: its frames are {pieces.frame_samples} samples apart, those of this encoder "
                f"{self._frame_samples}; make pieces of the units of a model with its frame rate"
            )
        return pieces

    def _load_phones(self, manifest, split):
        if self.cfg.phones is None:
            logger.info(f"task.phones is not set: validation on {split!r} reports no PNMI")
            return None
        phones = load_phone_labels(self.launch_path(self.cfg.phones), split)
        missing = [manifest.utterance_id(i) for i in range(len(manifest)) if manifest.utterance_id(i) not in phones]
        if missing:
            raise PhoneLabelError(
                f"{self.cfg.phones}: no labels for {len(missing)} of the {len(manifest)} utterances of {split!r}, "
                f"such as {', '.join(missing[:5])}; add them, or leave these utterances out of the manifest"
            )
        return phones

    def name_utterances(self, samples: Sequence[dict[str, Any]]) -> list[str]:
        """Ids of the utterances of an update. samples: its batches, from the training split's iterator."""
        manifest = self.datasets[self.cfg.train_subset].manifest
        indices = [index for sample in samples if sample for index in sample["id"].tolist()]
        return [manifest.utterance_id(index) for index in indices if index >= 0]

    def get_batch_iterator(self, dataset: TwoViewDataset, *args: Any, **kwargs: Any) -> EpochBatches:
        """As fairseq's, but with any number of ranks, and with the data workers of the epoch before: see EpochBatches."""
        batches = EpochBatches.of(super().get_batch_iterator(dataset, *args, **kwargs), self._batches.get(dataset))
        self._batches[dataset] = batches
        return batches

    # --- model --------------------------------------------------------------------------------------------------

    def build_model(self, cfg: Any, from_checkpoint: bool = False) -> Any:
        """Build the model, and store the encoder's configuration in `cfg`, so that a checkpoint needs no other file."""
        to_be_trained = not cfg.encoder
        if to_be_trained:
            with open_dict(cfg):
                cfg.pieces = number_of_classes(self.launch_path(self.cfg.pieces)) if self.cfg.pieces else 0
        model = super().build_model(cfg, from_checkpoint)
        self._frame_samples = round(model.encoder.frame_seconds * SAMPLE_RATE)
        self._fewest_samples = max(FEWEST_SAMPLES, _samples_of_a_frame(model.encoder.conv_layers))
        if self.cfg.max_sample_size < self._fewest_samples:
            raise ConfigError(
                f"task.max_sample_size is {self.cfg.max_sample_size}: one frame of this encoder has {self._fewest_samples} "
                "samples; raise it"
            )
        if to_be_trained and cfg.codebook_init == "kmeans":
            self._start_head(model)
        with open_dict(cfg):
            cfg.encoder = model.encoder.config
        return model

    def _start_head(self, model):
        """Start head and prototypes from k-means of the training split's features, unless a checkpoint will be loaded.

        The first rank computes them, on its device, and sends them to the others.
        """
        ranks = get_data_parallel_world_size()
        if (ranks == 1 or get_data_parallel_rank() == 0) and not self._resumes():
            device = torch.device("cuda" if torch.cuda.is_available() and not self.cfg.cpu else "cpu")
            manifest = load_manifest(self.launch_path(self.cfg.data), self.cfg.train_subset)
            manifest = long_enough(manifest, max(self.cfg.min_sample_size, self._fewest_samples))  # as in training
            frames = FRAMES_PER_PROTOTYPE_TO_START * max(len(prototypes) for prototypes in model.head.prototypes)
            features = sample_features(model.to(device), manifest, frames, self.cfg.max_sample_size, self.cfg.seed)
            logger.info(f"head and prototypes start from k-means of {len(features)} frames of {manifest.source}")
            start_from_kmeans(model.head, features, self.cfg.seed)
            model.cpu()  # fairseq changes the precision before it moves a model to the device
        if ranks > 1:
            broadcast_weights(model.head, get_data_parallel_group())

    def _resumes(self):
        """Whether fairseq will load a checkpoint of this run, by fairseq's own rule for its name."""
        last = self.cfg.restore_file == "checkpoint_last.pt"
        return os.path.isfile(os.path.join(self.cfg.save_dir, self.cfg.restore_file) if last else self.cfg.restore_file)

    # --- steps --------------------------------------------------------------------------------------------------

    def train_step(
        self, sample: dict[str, Any], model: Any, criterion: Any, optimizer: Any, update_num: int,
        ignore_grad: bool = False,
    ) -> tuple[torch.Tensor, int, dict[str, Any]]:  # fmt: skip
        """As fairseq's. Counts bad utterances, and keeps a batch without utterances out of the targets of all ranks."""
        self._codebook_sizes = [len(prototypes) for prototypes in model.head.prototypes]
        self._warn_of_small_batch(sample, model)
        ignored = ignore_grad or sample["ignored"]
        views = {**complete_views(sample, SAMPLE_RATE), "ignored": ignored}
        loss, frames, log = super().train_step(views, model, criterion, optimizer, update_num, ignored)
        return loss, frames, {**log, "skipped": self._skipped[sample["split"]].add(sample["skipped"])}

    def valid_step(
        self, sample: dict[str, Any], model: Any, criterion: Any
    ) -> tuple[torch.Tensor, int, dict[str, Any]]:
        loss, frames, log = super().valid_step(complete_views(sample, SAMPLE_RATE), model, criterion)
        skipped = self._skipped[sample["split"]].add(sample["skipped"])
        return loss, frames, {**log, "skipped": skipped, "split": sample["split"]}

    def optimizer_step(self, optimizer: Any, model: Any, update_num: int) -> None:
        """As fairseq's; with `model.layer_lr_decay`, lower layers take smaller steps."""
        stepping = optimizer.optimizer  # torch's own, whatever fairseq wraps around it; a resumed run gets a new one
        if model.layer_lr_decay != 1 and stepping is not self._scaled_optimizer:
            scale_updates(stepping, [(weight.numel(), factor) for weight, factor in model.lr_factors().items()])
            self._scaled_optimizer = stepping
        super().optimizer_step(optimizer, model, update_num)

    def _warn_of_small_batch(self, sample, model):
        if self._warned_of_small_batch:
            return
        self._warned_of_small_batch = True
        frames = sum(model.encoder.output_lengths(samples) for samples in sample["lengths"])
        largest = max(self._codebook_sizes)
        if frames < FEWEST_FRAMES_PER_PROTOTYPE * largest:
            logger.warning(
                f"a batch of {frames} frames on this rank for {largest} prototypes: Sinkhorn spreads them thinly; "
                "raise dataset.max_tokens, or take a smaller codebook"
            )

    def begin_epoch(self, epoch: int, model: Any) -> None:
        self._skipped[self._train].begin_epoch()

    # --- validation ---------------------------------------------------------------------------------------------

    def begin_valid_epoch(self, epoch: int, model: Any) -> None:
        self._pair_counts = {}
        for split, skipped in self._skipped.items():
            if split != self._train:
                skipped.begin_epoch()

    def count_units(
        self, sample: dict[str, Any], scores: torch.Tensor, frames: Sequence[int], frame_seconds: float
    ) -> dict[str, Any]:
        """Count how often each phone occurs with each unit in a batch: sparse counts for `reduce_metrics`, or {} without labels.

        scores: (B, frames, K) of the first views; frames: list of B ints, without padding;
        frame_seconds: the encoder's.
        """
        if not sample.get("phones"):
            return {}
        units = scores.argmax(-1).cpu().numpy()
        size = scores.size(-1)
        pairs = []
        for row, count, phones in zip(units, frames, sample["phones"]):
            phones, row = align(phones, row[:count], frame_seconds)
            pairs.append(phones.astype(np.int64) * size + row)
        index, counts = np.unique(np.concatenate(pairs), return_counts=True)
        return {"pairs": (index, counts), "units": size}

    def reduce_metrics(self, logging_outputs: Sequence[dict[str, Any]], criterion: Any) -> None:
        with metrics.aggregate() as logged:
            super().reduce_metrics(logging_outputs, criterion)
        for log in logging_outputs:
            self._skipped[log.get("split", self._train)].count(log["skipped"])
        if criterion.training:
            for codebook, size in enumerate(self._codebook_sizes):
                name = f"code_ppl_{codebook}" if codebook else "code_ppl"
                if name in logged:
                    self._collapse.note(name, logged[name].val, size)
        split = None
        for log in logging_outputs:
            if "pairs" in log:
                (index, counts), size, split = log["pairs"], log["units"], log["split"]
                before = self._pair_counts.get(split, np.zeros((0, size)))
                table = np.zeros((max(index.max() // size + 1, len(before)), size))
                table[: len(before)] = before
                np.add.at(table.reshape(-1), index, counts)
                self._pair_counts[split] = table
        if split is not None:
            # Weight 0 makes fairseq report the latest value: that over all batches so far, in the end the split's.
            for key, value in quality_of_counts(self._pair_counts[split]).items():
                metrics.log_scalar(key, value, weight=0, round=4)
