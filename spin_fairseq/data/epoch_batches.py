"""The batches of an epoch, for fairseq: a run may resume with another number of ranks, and data workers are kept."""

from __future__ import annotations

from typing import Any

from fairseq.data.iterators import EpochBatchIterator


class EpochBatches(EpochBatchIterator):
    """fairseq's EpochBatchIterator, with three differences.

    A rank that has no batch left gets a batch without utterances. fairseq loads a whole batch for that purpose, in the main
    process, at each validation, and counts its frames in what the ranks compute together.

    A checkpoint stores the position in the epoch together with the number of steps of the epoch. With another number of
    ranks or another batch size, an epoch has another number of steps. A resumed run then continues after the same fraction
    of the epoch. fairseq would continue after the same number of steps, or refuse.

    Data workers are kept from one epoch to the next, although each epoch has its own batches. fairseq forks new workers,
    which start slowly and keep all memory that the main process has at that time.
    """

    @classmethod
    def of(cls, batches: EpochBatchIterator, before: EpochBatches | None = None) -> EpochBatches:
        """Turn an iterator that fairseq's task has built, and that has not begun, into one of this class. Its arguments differ
        between versions of fairseq, so that it is not built here.

        before: the iterator of an earlier epoch of the same dataset, which has ended and whose workers are taken over; or
        None.
        """
        made = cls.__new__(cls)
        vars(made).update(vars(batches))
        if before is not None and before.num_workers == made.num_workers:
            made.dataloader = before.dataloader
        return made

    def _get_iterator_for_epoch(self, epoch, shuffle, fix_batches_to_gpus=False, offset=0):
        if self.dataloader is not None:
            sampler = self.dataloader.batch_sampler
            sampler.ordered_batches, sampler.shuffle = self.ordered_batches, shuffle
            self.batch_sampler = self.epoch_batch_sampler = sampler  # the name in fairseq 0.12.2, and in its fork
        return super()._get_iterator_for_epoch(epoch, shuffle, fix_batches_to_gpus, offset)

    @property
    def first_batch(self) -> dict[str, Any]:
        return self.collate_fn([])

    def state_dict(self) -> dict[str, Any]:
        return {**super().state_dict(), "steps_in_epoch": len(self)}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        position = state_dict.get("iterations_in_epoch", 0)
        steps = state_dict.get("steps_in_epoch", len(self))
        super().load_state_dict({**state_dict, "iterations_in_epoch": position * len(self) // steps})
