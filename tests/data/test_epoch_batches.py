import pytest

from tests.small_task import small_task


@pytest.fixture
def batches_of(speech_folder):
    """batches_of(ranks, rank=0, size=2) -> the iterator of a rank, with so many of the 12 utterances in a batch."""
    task = small_task(speech_folder)
    task.load_dataset("train")

    def make(ranks, rank=0, size=2, num_workers=0):
        return task.get_batch_iterator(
            task.dataset("train"), max_sentences=size, num_shards=ranks, shard_id=rank, seed=1, num_workers=num_workers
        )

    return make


def utterances(batches):
    """The utterances of each batch that is left."""
    return [batch["id"].tolist() for batch in batches]


def stopped_after(steps, batches):
    iterator = batches.next_epoch_itr()
    seen = utterances(next(iterator) for _ in range(steps))
    return batches.state_dict(), seen


def resumed(state, batches):
    batches.load_state_dict(state)
    return utterances(batches.next_epoch_itr())


def test_a_rank_without_batches_has_a_filler_that_counts_for_nothing(batches_of):
    filler = batches_of(ranks=3, rank=2, size=6).first_batch
    assert filler["ignored"] and filler["skipped"] == [] and filler["id"].tolist() == [-1]
    assert len(filler["net_input"]["source"]) == 2
    (missing,) = batches_of(ranks=3, rank=2, size=6).next_epoch_itr()
    assert missing["ignored"]


@pytest.mark.parametrize("steps", [1, 3, 5])
def test_resuming_as_before_goes_on_exactly(batches_of, steps):
    state, seen = stopped_after(steps, batches_of(ranks=1))
    whole = utterances(batches_of(ranks=1).next_epoch_itr())
    assert seen + resumed(state, batches_of(ranks=1)) == whole and len(whole) == 6


@pytest.mark.parametrize("before, after", [((1, 4), (2, 2)), ((2, 2), (1, 4))])
def test_the_same_joined_batch_on_other_ranks_goes_on_exactly(batches_of, before, after):
    """(ranks, batch size): twice the ranks with half of the batch are as many steps."""
    state, seen = stopped_after(2, batches_of(before[0], size=before[1]))
    left = [resumed(state, batches_of(after[0], rank, after[1])) for rank in range(after[0])]
    assert [len(each) for each in left] == [1] * after[0]


@pytest.mark.parametrize("steps, left", [(1, 3), (2, 2), (3, 2), (4, 1), (5, 1)])
def test_more_ranks_go_on_at_the_same_part_of_the_epoch(batches_of, steps, left):
    """Six steps of one rank are three of two; fairseq alone would go on after `steps` of them, or refuse."""
    state, _ = stopped_after(steps, batches_of(ranks=1))
    ranks = [resumed(state, batches_of(ranks=2, rank=rank)) for rank in (0, 1)]
    assert [len(each) for each in ranks] == [left, left]


def test_a_checkpoint_that_does_not_say_its_steps_is_taken_as_fairseq_does(batches_of):
    state, _ = stopped_after(2, batches_of(ranks=1))
    del state["steps_in_epoch"]
    assert len(resumed(state, batches_of(ranks=1))) == 4


def test_the_end_of_an_epoch_is_the_start_of_the_next(batches_of):
    state, _ = stopped_after(6, batches_of(ranks=1))
    assert state["iterations_in_epoch"] == 0 and state["epoch"] == 2
    assert len(resumed(state, batches_of(ranks=2))) == 3


@pytest.mark.parametrize("num_workers", [0, 1])
def test_each_epoch_is_shuffled_or_not_as_it_is_asked(batches_of, num_workers):
    """As with optimization.curriculum, where the first epochs are not; all by the loader of the first."""

    def epoch(shuffle):
        batches = batches_of(ranks=1, num_workers=num_workers)
        return utterances(batches.next_epoch_itr(shuffle=shuffle)), batches.dataloader

    orders, loaders = zip(*map(epoch, (False, True, False)))
    assert orders[0] == orders[2] != orders[1] and sorted(orders[0]) == sorted(orders[1])
    assert loaders[0] is loaders[1] is loaders[2]
