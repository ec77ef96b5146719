"""fairseq's batches of an epoch: for any number of ranks, even if it changed at a resume, with persistent data workers."""

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
        """One of these, out of one of fairseq's that has not begun: fairseq's task builds those, whatever its version takes.

        before: those of an earlier epoch of the same dataset, which are done with, or None.
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
    def first_batch(self):
        return self.collate_fn([])

    def state_dict(self):
        return {**super().state_dict(), "steps_in_epoch": len(self)}

    def load_state_dict(self, state_dict):
        position = state_dict.get("iterations_in_epoch", 0)
        steps = state_dict.get("steps_in_epoch", len(self))
        super().load_state_dict({**state_dict, "iterations_in_epoch": position * len(self) // steps})
