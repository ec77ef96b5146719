"""Task "spin": ties data, model and criterion together for fairseq."""

import logging
import os
from dataclasses import dataclass, field
from typing import Optional

import numpy as np
from fairseq.dataclass import FairseqDataclass
from fairseq.logging import metrics
from fairseq.tasks import FairseqTask, register_task
from omegaconf import II, MISSING, open_dict

from ..data.device_views import complete_views
from ..data.manifest import load_manifest
from ..data.phone_labels import load_phone_labels
from ..data.pitch_mark_cache import PitchMarkCache
from ..data.speaker_pitch import load_speaker_pitch
from ..data.two_view_dataset import SAMPLE_RATE, TwoViewDataset
from ..errors import ConfigError, PhoneLabelError
from ..evaluation.clusters import align, quality_of_counts
from ..perturbation.backends import build_backend
from .skipped import SkippedUtterances

logger = logging.getLogger(__name__)

# The reference validates on the first 10 s of each utterance; below 50 ms there is no frame to speak of.
VALID_MAX_SAMPLES = 160000
FEWEST_SAMPLES = 800
FEWEST_FRAMES_PER_PROTOTYPE = 2


@dataclass
class SpinTaskConfig(FairseqDataclass):
    data: str = field(default=MISSING, metadata={"help": "folder with {split}.tsv or {split}.json"})
    phones: Optional[str] = field(
        default=None, metadata={"help": "folder with {split}.tsv phone labels; none: validation reports no PNMI"}
    )
    speaker_pitch: Optional[str] = field(
        default=None,
        metadata={"help": "spk2info.dict, SPEAKERS.TXT or a .tsv of pitch ranges; none: estimated for each utterance"},
    )
    pitch_marks: Optional[str] = field(
        default=None, metadata={"help": "folder of cached pitch marks for the native engine; none: found on the fly"}
    )
    perturbation: str = field(default="native", metadata={"help": "native, praat, sox or none"})
    perturb_on: str = field(
        default="worker", metadata={"help": "worker, or device: the native engine on the whole batch beside the model"}
    )
    perturb_both_views: bool = field(default=False, metadata={"help": "change the first view too"})
    min_sample_size: int = field(default=40000, metadata={"help": "drop training utterances below (samples)"})
    max_sample_size: int = field(default=272000, metadata={"help": "crop training utterances above (samples)"})
    max_bad_share: float = field(
        default=0.01, metadata={"help": "share of a split's utterances that may be unreadable before the run stops"}
    )
    sample_rate: int = field(default=16000, metadata={"help": "Hz, of all audio; fairseq's dump scripts ask for it"})
    normalize: bool = field(
        default=False, metadata={"help": "false: the encoder normalises its input itself where its base asks for it"}
    )
    launch_dir: Optional[str] = field(
        default=None, metadata={"help": "what relative paths are relative to; none: the working directory"}
    )
    seed: int = II("common.seed")
    train_subset: str = II("dataset.train_subset")


@register_task("spin", dataclass=SpinTaskConfig)
class SpinTask(FairseqTask):
    """Two-view datasets, a model whose checkpoint stands alone, PNMI over the validation split."""

    source_dictionary = target_dictionary = None  # there is no text

    def __init__(self, cfg):
        super().__init__(cfg)
        if cfg.perturb_on not in ("worker", "device"):
            raise ConfigError(f"task.perturb_on is {cfg.perturb_on!r}: it must be worker or device")
        if cfg.perturb_on == "device" and cfg.perturbation != "native":
            raise ConfigError(f"task.perturb_on is 'device': {cfg.perturbation} runs in a worker; choose native")
        if cfg.pitch_marks is not None and cfg.perturbation != "native":
            raise ConfigError(f"task.pitch_marks is set, but {cfg.perturbation} does not use them: leave it out")
        if not FEWEST_SAMPLES <= cfg.min_sample_size <= cfg.max_sample_size:
            raise ConfigError(
                f"task.min_sample_size={cfg.min_sample_size} and max_sample_size={cfg.max_sample_size}: "
                f"the first must be at least {FEWEST_SAMPLES} and not above the second"
            )
        if cfg.sample_rate != 16000 or cfg.normalize:
            raise ConfigError("task.sample_rate and task.normalize are fixed, to 16000 and false: leave them out")
        self._skipped = {}
        self._pair_counts = {}
        self._warned_of_small_batch = False

    @classmethod
    def setup_task(cls, cfg, **kwargs):
        return cls(cfg)

    def path(self, path):
        """Hydra changes the working directory, and ranks that fairseq spawns do not know from where."""
        return path if path is None else os.path.join(self.cfg.launch_dir or "", path)

    # --- data ---------------------------------------------------------------------------------------------------

    def load_dataset(self, split, combine=False, **kwargs):
        """Read a split's manifest, pitch ranges and phone labels. Raises the errors of `errors.py`."""
        cfg = self.cfg
        train = split == cfg.train_subset
        manifest = load_manifest(self.path(cfg.data), split)
        pitch = load_speaker_pitch(self.path(cfg.speaker_pitch))
        if cfg.speaker_pitch is not None:
            for speaker in sorted(manifest.speakers()):
                pitch.range(speaker)
        self.datasets[split] = TwoViewDataset(
            manifest,
            pitch=pitch,
            backend=build_backend(cfg.perturbation),
            seed=cfg.seed,
            train=train,
            min_samples=cfg.min_sample_size if train else FEWEST_SAMPLES,
            max_samples=cfg.max_sample_size if train else VALID_MAX_SAMPLES,
            phones=None if train else self._load_phones(manifest, split),
            both_views=cfg.perturb_both_views,
            marks=self._open_marks(split, manifest, pitch),
            on_device=cfg.perturb_on == "device",
        )
        self._skipped[split] = SkippedUtterances(split, len(self.datasets[split]), cfg.max_bad_share)

    def _open_marks(self, split, manifest, pitch):
        if self.cfg.pitch_marks is None:
            return None
        marks = PitchMarkCache.open(self.path(self.cfg.pitch_marks), split)
        logger.info(marks.summary(marks.survey(manifest, pitch.range)))
        return marks

    def _load_phones(self, manifest, split):
        if self.cfg.phones is None:
            logger.info(f"task.phones is not set: validation on {split!r} reports no PNMI")
            return None
        phones = load_phone_labels(self.path(self.cfg.phones), split)
        missing = [manifest.utterance_id(i) for i in range(len(manifest)) if manifest.utterance_id(i) not in phones]
        if missing:
            raise PhoneLabelError(
                f"{self.cfg.phones}: no labels for {len(missing)} of the {len(manifest)} utterances of {split!r}, "
                f"such as {', '.join(missing[:5])}; add them, or leave these utterances out of the manifest"
            )
        return phones

    def _note_skipped(self, sample, train):
        for split, skipped in self._skipped.items():
            if (split == self.cfg.train_subset) == train:
                skipped.add(sample["skipped"])

    # --- model --------------------------------------------------------------------------------------------------

    def build_model(self, cfg, from_checkpoint=False):
        """The configuration keeps the encoder's own, so that a checkpoint of this model needs no other file."""
        model = super().build_model(cfg, from_checkpoint)
        with open_dict(cfg):
            cfg.encoder = model.encoder.config
        return model

    # --- steps --------------------------------------------------------------------------------------------------

    def train_step(self, sample, model, criterion, optimizer, update_num, ignore_grad=False):
        """fairseq's own; bad utterances are counted, and a filler batch has no part in anybody's targets."""
        self._note_skipped(sample, train=True)
        self._warn_of_small_batch(sample, model)
        ignored = ignore_grad or sample["ignored"]
        sample = {**complete_views(sample, SAMPLE_RATE), "ignored": ignored}
        return super().train_step(sample, model, criterion, optimizer, update_num, ignored)

    def valid_step(self, sample, model, criterion):
        self._note_skipped(sample, train=False)
        return super().valid_step(complete_views(sample, SAMPLE_RATE), model, criterion)

    def _warn_of_small_batch(self, sample, model):
        if self._warned_of_small_batch:
            return
        self._warned_of_small_batch = True
        frames = sum(model.encoder.output_lengths(samples) for samples in sample["lengths"])
        largest = max(len(prototypes) for prototypes in model.head.prototypes)
        if frames < FEWEST_FRAMES_PER_PROTOTYPE * largest:
            logger.warning(
                f"a batch of {frames} frames on this rank for {largest} prototypes: Sinkhorn spreads them thinly; "
                "raise dataset.max_tokens, or take a smaller codebook"
            )

    # --- validation ---------------------------------------------------------------------------------------------

    def begin_valid_epoch(self, epoch, model):
        self._pair_counts = {}

    def count_units(self, sample, scores, frames):
        """How often each phone meets each unit in a batch: {} without labels, else sparse counts for `reduce_metrics`.

        scores: (B, frames, K) of the first views; frames: list of B ints, without padding.
        """
        if not sample.get("phones"):
            return {}
        units = scores.argmax(-1).cpu().numpy()
        size = scores.size(-1)
        pairs = []
        for row, count, phones in zip(units, frames, sample["phones"]):
            phones, row = align(phones, row[:count])
            pairs.append(phones.astype(np.int64) * size + row)
        index, counts = np.unique(np.concatenate(pairs), return_counts=True)
        return {"pairs": (index, counts), "units": size, "split": sample["split"]}

    def reduce_metrics(self, logging_outputs, criterion):
        super().reduce_metrics(logging_outputs, criterion)
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
