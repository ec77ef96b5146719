"""fairseq's batches of an epoch: for any number of ranks, for another number than before a resume, by lasting data workers."""

from fairseq.data.iterators import EpochBatchIterator


class EpochBatches(EpochBatchIterator):
    """EpochBatchIterator, except for three things.

    The batch that stands in for one that a rank lacks is a filler without utterances, as the dataset's collater makes of
    none. fairseq would make a whole batch for it, in the main process, at each validation; and let it count in what
    ranks compute together.

    The position in the epoch is kept beside the epoch's length. With another number of ranks or another batch size an
    epoch has another number of steps; a resumed run then goes on at the same part of it, where fairseq would go on
    after the same number of steps, or refuse.

    Data workers stay from one epoch to the next although each epoch has batches of its own. fairseq would fork new ones,
    which start slowly, and hold on to all memory that the main process had by then.
    """

    @classmethod
    def of(cls, batches, before=None):
        """Make one of fairseq's into one of these: its task builds them, and does not ask which.

        before: those of an earlier epoch of the same dataset, which are done with, or None.
        """
        batches.__class__ = cls
        if before is not None and before.dataloader is not None and before.num_workers == batches.num_workers:
            batches.dataloader, batches.epoch_batch_sampler = before.dataloader, before.epoch_batch_sampler
            batches.epoch_batch_sampler.ordered_batches = batches.ordered_batches
        return batches

    @property
    def first_batch(self):
        return self.collate_fn([])

    def state_dict(self):
        return {**super().state_dict(), "steps_in_epoch": len(self)}

    def load_state_dict(self, state_dict):
        position = state_dict.get("iterations_in_epoch", 0)
        steps = state_dict.get("steps_in_epoch", len(self))
        super().load_state_dict({**state_dict, "iterations_in_epoch": position * len(self) // steps})
