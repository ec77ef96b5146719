"""The dataset: each utterance as recorded, and again in another voice."""

import gc
import logging
import os
from typing import Any
from collections.abc import Callable, Sequence

import numpy as np
import torch
from fairseq.data import FairseqDataset

from ..errors import AudioError, ManifestError, PerturbationError
from ..modules.pieces_loss import IGNORE
from ..perturbation.acoustics import AS_RECORDED, change_acoustics
from ..perturbation.backends import perturb
from ..perturbation.pitch_marks import find_pitch_marks
from ..speech.audio import SAMPLE_RATE, read_utterance
from .device_views import pending_views
from ..speech.acoustic_pieces import AcousticPieces
from ..speech.manifest import Manifest
from ..speech.phone_labels import PhoneLabels
from ..speech.pitch_mark_cache import PitchMarkCache
from ..speech.speaker_pitch import SpeakerPitch
from .acoustics import AcousticsOfViews
from .voices import CorpusVoices, UniformVoices

logger = logging.getLogger(__name__)

BUCKET_SAMPLES = 4000  # utterances whose lengths differ by less than this may share a batch, in random order
ROUND_SAMPLES = 4000  # padded batches are padded to a multiple of this: a GPU then sees few different shapes
FILLER_SAMPLES = 8000  # stands in for a batch in which every utterance is bad

# Python's garbage collector writes into each object that it visits. In a forked data worker that would copy some 200 MB of
# the main process's memory; so the worker leaves all objects that exist at the fork out of garbage collection.
os.register_at_fork(after_in_child=gc.freeze)


def long_enough(manifest: Manifest, min_samples: int) -> Manifest:
    """-> the manifest without utterances of fewer than `min_samples` samples. Raises ManifestError if none is left."""
    keep = manifest.sizes >= min_samples
    if not keep.any():
        raise ManifestError(
            f"{manifest.source}: none of its {len(manifest)} utterances has task.min_sample_size={min_samples} samples; "
            "lower it"
        )
    return manifest if keep.all() else manifest.select(keep)


class TwoViewDataset(FairseqDataset):
    """Two views of each utterance of a manifest.

    Every random draw (crop, voice, equaliser, noise, room) depends on (seed, epoch, index) alone: the same for any number of
    workers, on any rank, and after a resume. A bad utterance does not raise: its batch goes on without it and names it
    under "skipped".

    manifest, pitch, backend: what `load_manifest`, `load_speaker_pitch` and `build_backend` return.
    train: whether to crop at random and draw anew in each epoch; if not, crops begin at the first sample, and the draws are
    the same each time.
    min_samples: shorter utterances are left out. max_samples: longer ones are cropped.
    phones: what `load_phone_labels` returns, or None.
    both_views: whether to change the voice of the first view too. voices: what draws the other voice; None: UniformVoices().
    marks: a PitchMarkCache for the native engine; None: pitch marks are found for each utterance when it is loaded.
    on_device: do not change voices here; `device_views.complete_views` does it later, with the native engine.
    crop_multiple: training crops utterances to a multiple of so many samples, so that more batches need no padding.
    acoustics: AcousticsOfViews, noise and rooms for both views, or None. In validation the first view has none, so that
    its units are those of the recording.
    pieces: AcousticPieces, targets of the frames, or None. Crops then begin where a frame does.
    """

    def __init__(
        self, manifest: Manifest, *, pitch: SpeakerPitch, backend: Callable[..., np.ndarray] | None, seed: int,
        train: bool, min_samples: int, max_samples: int, phones: PhoneLabels | None = None, both_views: bool = False,
        voices: UniformVoices | CorpusVoices | None = None, marks: PitchMarkCache | None = None, on_device: bool = False, crop_multiple: int = 1,
        acoustics: AcousticsOfViews | None = None, pieces: AcousticPieces | None = None,
    ):  # fmt: skip
        self.manifest = long_enough(manifest, min_samples)
        dropped = len(manifest) - len(self.manifest)
        if dropped:
            logger.info(f"{manifest.source}: {dropped} of {len(manifest)} utterances are under {min_samples} samples")
        self.sizes = np.minimum(self.manifest.sizes, max_samples)
        if train:
            self.sizes = np.where(self.sizes < crop_multiple, self.sizes, self.sizes // crop_multiple * crop_multiple)
        self.pitch, self.backend, self.seed, self.train = pitch, backend, seed, train
        self.max_samples, self.phones, self.both_views = max_samples, phones, both_views
        self.voices, self.marks, self.on_device = voices or UniformVoices(), marks, on_device
        self.acoustics = acoustics or None
        if self.acoustics:
            self.acoustics.check(self.manifest)
        self.pieces, self._piece_rows = pieces, None if pieces is None else pieces.rows_of(self.manifest)
        # Shared with data workers, which are kept for many epochs
        self._epoch = torch.ones(1, dtype=torch.int64).share_memory_()

    def __len__(self):
        return len(self.manifest)

    @property
    def epoch(self) -> int:
        return int(self._epoch)

    def _rng(self, index, stream):
        return np.random.default_rng([self.seed, self.epoch if self.train else 0, index, stream])

    def __getitem__(self, index):
        """-> {"index", "views": a tuple of two float32 (T,) arrays, "phones" and "pieces" where there are such}.

        If views are made on the device, "views" holds the recorded wave alone, and "draws", "marks" and "acoustics" are
        added. For a bad utterance: {"index", "error"}.
        """
        index = int(index)
        path = self.manifest.path(index)
        samples, whole = int(self.sizes[index]), int(self.manifest.sizes[index])
        spare = whole - samples
        start = int(self._rng(index, 0).integers(0, spare + 1)) if self.train else 0
        if self.pieces is not None:
            start -= start % self.pieces.frame_samples
        try:
            item = {"index": index, **self._views(index, start, samples)}
        except AudioError as error:
            return {"index": index, "error": str(error)}
        except PerturbationError as error:
            return {"index": index, "error": f"{path}: {error}"}
        if self.phones is not None:
            item["phones"] = self.phones[self.manifest.utterance_id(index)]
        if self.pieces is not None:
            step = self.pieces.frame_samples
            item["pieces"] = self.pieces.targets(self._piece_rows[index], start // step, -(-samples // step))
        return item

    def _views(self, index, start, samples):
        wave = read_utterance(self.manifest, index, start=start, frames=samples)
        streams = (1, 2) if self.both_views else (2,)
        speaker = self.manifest.speaker(index)
        draws = tuple(self.voices.draw(self._rng(index, stream), speaker) for stream in streams)
        pitch_range = self.pitch.range(speaker)
        marks = self.marks.lookup(self.manifest, index, pitch_range) if self.marks else None
        if marks is not None:
            marks = marks.crop(start, samples)
        if self.on_device:
            if marks is None:
                floor, ceiling = pitch_range or (None, None)
                marks = find_pitch_marks(wave, SAMPLE_RATE, pitch_floor=floor, pitch_ceiling=ceiling)
            item = {"views": (wave,), "draws": draws, "marks": marks}
            return {**item, "acoustics": self._draw_acoustics(index, wave)} if self.acoustics else item
        changed = [perturb(self.backend, wave, SAMPLE_RATE, pitch_range, draw, marks) for draw in draws]
        views = tuple(changed) if self.both_views else (wave, *changed)
        if self.acoustics:
            views = tuple(map(change_acoustics, views, self._draw_acoustics(index, wave)))
        return {"views": views}

    def _draw_acoustics(self, index, wave):
        """-> Acoustics of the first view and of the second."""
        return tuple(
            self.acoustics.draw(self._rng(index, 3 + view), self._rng(index, 5 + view), wave, self.manifest, index)
            if self.train or view
            else AS_RECORDED
            for view in (0, 1)
        )

    def collater(self, items: Sequence[dict[str, Any]]) -> dict[str, Any]:
        """-> a batch of B utterances:

        "net_input": {"source": (2B, T) float32, first all first views, then all second ones,
                      "padding_mask": (2B, T) bool, True behind the end, or None where all are of one length};
        "pending": what `device_views.complete_views` needs; "source" is then (B, T), the waves as they are;
        "id": (B,) int64; "lengths": list of B ints, samples; "phones": list of B arrays;
        "pieces": (B, frames) int64, the target of each frame, IGNORE behind the end;
        "split": its name; "skipped": [(index, what is wrong)].
        """
        good = [item for item in items if "error" not in item]
        skipped = [(item["index"], item["error"]) for item in items if "error" in item]
        views = [item["views"] for item in good] or [(np.zeros(FILLER_SAMPLES, np.float32),) * 2]
        lengths = [len(first) for first, *_ in views]
        longest = max(lengths)
        padded = min(lengths) < longest
        width = -(-longest // ROUND_SAMPLES) * ROUND_SAMPLES if padded else longest
        source = torch.zeros(len(views[0]) * len(views), width)
        for row, waves in enumerate(views):
            for place, wave in enumerate(waves):
                source[place * len(views) + row, : len(wave)] = torch.from_numpy(wave)
        padding_mask = torch.arange(width) >= torch.tensor(lengths * 2).unsqueeze(1) if padded else None
        batch = {
            "id": torch.tensor([item["index"] for item in good] or [-1]),
            "net_input": {"source": source, "padding_mask": padding_mask},
            "lengths": lengths,
            "skipped": skipped,
            "ignored": not good,
            "split": self.manifest.source.stem,
        }
        if good and self.on_device:
            draws, marks = [item["draws"] for item in good], [item["marks"] for item in good]
            acoustics = [item["acoustics"] for item in good] if self.acoustics else None
            batch["pending"] = pending_views(draws, marks, lengths, acoustics, width)
        if self.phones is not None:
            batch["phones"] = [item["phones"] for item in good]
        if self.pieces is not None:
            targets = [torch.from_numpy(item["pieces"]) for item in good] or [torch.zeros(0, dtype=torch.int64)]
            batch["pieces"] = torch.nn.utils.rnn.pad_sequence(targets, batch_first=True, padding_value=IGNORE)
        return batch

    def num_tokens(self, index: int) -> int:
        """Samples of one view, after the crop."""
        return int(self.sizes[index])

    def num_tokens_vec(self, indices: np.ndarray) -> np.ndarray:
        return self.sizes[indices]

    size = num_tokens

    def ordered_indices(self) -> np.ndarray:
        """Longest first, in buckets of similar length; within a bucket at random, anew each epoch."""
        if not self.train:
            return np.argsort(-self.sizes, kind="stable")
        order = np.random.default_rng([self.seed, self.epoch]).permutation(len(self))
        buckets = self.sizes // BUCKET_SAMPLES
        buckets = (buckets.max() - buckets).astype(np.min_scalar_type(buckets.max()))  # few bits are sorted at once
        return order[np.argsort(buckets[order], kind="stable")]

    def batch_by_size(
        self, indices: np.ndarray, max_tokens: int | None = None, max_sentences: int | None = None,
        required_batch_size_multiple: int = 1,
    ) -> Sequence[np.ndarray]:  # fmt: skip
        """As fairseq's, but without the multiple, by which the last utterances of a split would be dropped."""
        return super().batch_by_size(indices, max_tokens, max_sentences, required_batch_size_multiple=1)

    @property
    def can_reuse_epoch_itr_across_epochs(self) -> bool:
        """False: each epoch has its own batches."""
        return False

    @property
    def supports_fetch_outside_dataloader(self) -> bool:
        """False in training: fairseq would perturb a whole batch in the main process at the start of each epoch."""
        return not self.train

    def set_epoch(self, epoch: int) -> None:
        self._epoch.fill_(epoch)
