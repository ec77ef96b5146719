import gc
import json
import logging

import numpy as np
import pytest
import torch
from fairseq.tasks import FairseqTask

from spin_fairseq.speech.audio import read_audio
from spin_fairseq.data.device_views import complete_views
from spin_fairseq.data.voices import UniformVoices
from spin_fairseq.speech.manifest import load_manifest
from spin_fairseq.speech.phone_labels import load_phone_labels
from spin_fairseq.speech.speaker_pitch import load_speaker_pitch
from spin_fairseq.errors import ManifestError
from spin_fairseq.perturbation import build_backend, find_pitch_marks
from tests.forked_memory import bytes_copied_by
from tests.small_dataset import make_dataset


@pytest.fixture
def data(speech_folder):
    return speech_folder.data


def batches_of(dataset, epoch=1, num_workers=0, offset=0, **options):
    """As fairseq's trainer iterates: -> list of batches."""
    options = {"max_tokens": 60000, "seed": 1, "num_workers": num_workers, "epoch": epoch, **options}
    iterator = FairseqTask(None).get_batch_iterator(dataset, **options)
    if offset:
        iterator.load_state_dict({"epoch": epoch, "iterations_in_epoch": offset, "shuffle": True})
    return list(iterator.next_epoch_itr(shuffle=True))


def same(first, second):
    assert len(first) == len(second) > 1
    for a, b in zip(first, second):
        assert a["id"].tolist() == b["id"].tolist() and a["lengths"] == b["lengths"]
        assert torch.equal(a["net_input"]["source"], b["net_input"]["source"])


def views_by_id(batches):
    views = {}
    for batch in batches:
        source, half = batch["net_input"]["source"], len(batch["lengths"])
        for row, (index, length) in enumerate(zip(batch["id"].tolist(), batch["lengths"])):
            views[index] = (source[row, :length], source[half + row, :length])
    return views


# --- draws ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("num_workers", [1, 2])
def test_the_number_of_workers_changes_nothing(data, num_workers):
    for epoch in (1, 2):
        same(batches_of(make_dataset(data), epoch), batches_of(make_dataset(data), epoch, num_workers))


@pytest.mark.parametrize("num_workers", [0, 2])
def test_resuming_in_mid_epoch_changes_nothing(data, num_workers):
    whole = batches_of(make_dataset(data), epoch=3)
    same(whole[2:], batches_of(make_dataset(data), epoch=3, num_workers=num_workers, offset=2))


def test_several_ranks_share_the_same_draws(data):
    whole = views_by_id(batches_of(make_dataset(data)))
    parts = [views_by_id(batches_of(make_dataset(data), num_shards=2, shard_id=rank)) for rank in (0, 1)]
    assert set(parts[0]) | set(parts[1]) == set(whole) == set(range(12)) and not set(parts[0]) & set(parts[1])
    for part in parts:
        for index, views in part.items():
            assert all(torch.equal(a, b) for a, b in zip(views, whole[index]))


def test_each_epoch_and_seed_has_its_own(data):
    first, second = (views_by_id(batches_of(make_dataset(data), epoch)) for epoch in (1, 2))
    other_seed = views_by_id(batches_of(make_dataset(data, seed=8)))
    for index in range(12):
        for other in (second, other_seed):
            assert not torch.equal(first[index][1], other[index][1])
    orders = [[batch["id"].tolist() for batch in batches_of(make_dataset(data), epoch)] for epoch in (1, 2, 3)]
    members = [{frozenset(ids) for ids in order} for order in orders]
    assert members[0] != members[1] or members[1] != members[2]  # not merely the same batches in another order


def test_each_utterance_has_its_own_voice(data):
    draws = []
    dataset = make_dataset(data, backend=lambda wave, rate, pitch, draw: draws.append(draw) or wave)
    for index in range(12):
        dataset[index]
    assert len({draw.formant_ratio for draw in draws}) == len({draw.seed for draw in draws}) == 12


def test_validation_is_fixed(data):
    dataset = make_dataset(data, "dev")
    first = [dataset[index] for index in range(6)]
    dataset.set_epoch(2)
    for index, item in enumerate(first):
        for a, b in zip(item["views"], dataset[index]["views"]):
            assert np.array_equal(a, b)
        wave = read_audio(dataset.manifest.path(index))
        assert np.array_equal(item["views"][0], wave[:20000])
    assert dataset.ordered_indices().tolist() == np.argsort(-dataset.sizes, kind="stable").tolist()


def test_a_collection_in_a_worker_copies_nothing_of_the_main_process():
    inherited = [[] for _ in range(400_000)]  # 30 MB which a collection would write into

    assert bytes_copied_by(gc.collect) < 8e6 and len(inherited) == 400_000


# --- views ------------------------------------------------------------------------------------------------------


def test_first_view_is_the_recording_and_second_another_voice(data):
    dataset = make_dataset(data)
    first, second = dataset[3]["views"]
    assert first.dtype == second.dtype == np.float32 and len(first) == len(second) == dataset.sizes[3]
    wave = read_audio(dataset.manifest.path(3))
    assert any(np.array_equal(first, wave[s : s + len(first)]) for s in range(len(wave) - len(first) + 1))
    assert not np.allclose(first, second)


def test_both_views_can_be_perturbed_and_differently(data):
    alone, both = make_dataset(data), make_dataset(data, both_views=True)
    assert not np.allclose(both[3]["views"][0], alone[3]["views"][0])
    assert not np.allclose(*both[3]["views"])
    assert np.array_equal(both[3]["views"][1], alone[3]["views"][1])


def test_strength_reaches_the_draw(data):
    seen = []

    def remember(wave, sample_rate, pitch_range, draw):
        seen.append(draw.formant_ratio)
        return wave

    for strength in (1.0, 0.5):
        make_dataset(data, backend=remember, voices=UniformVoices(strength))[0]
    assert seen[1] ** 2 == pytest.approx(seen[0]) and seen[0] != 1


def test_without_perturbation_both_views_are_alike(data):
    assert np.array_equal(*make_dataset(data, backend=None)[0]["views"])


def test_crops_are_random_and_reach_both_ends(data):
    dataset = make_dataset(data, max_samples=800, backend=None)
    wave = read_audio(dataset.manifest.path(0))
    places = np.lib.stride_tricks.sliding_window_view(wave, 800)
    starts = []
    for epoch in range(1, 201):
        dataset.set_epoch(epoch)
        view = dataset[0]["views"][0]
        (start,) = np.flatnonzero((places == view).all(1))
        starts.append(start)
    spare = len(wave) - 800
    assert len(set(starts)) > 180
    assert min(starts) < 0.05 * spare and max(starts) > 0.95 * spare
    assert np.histogram(starts, bins=4, range=(0, spare))[0].min() > 25


def test_an_utterance_of_exactly_the_longest_size_is_whole(data):
    size = int(load_manifest(data, "train").sizes[0])
    assert len(make_dataset(data, max_samples=size)[0]["views"][0]) == size


def test_the_speakers_pitch_range_reaches_the_backend(data, tmp_path):
    (tmp_path / "pitch.tsv").write_text("19\t80\t200\n26\t90\t210\n84\t100\t300\n116\t110\t400\n")
    seen = []
    dataset = make_dataset(
        data,
        pitch=load_speaker_pitch(tmp_path / "pitch.tsv"),
        backend=lambda wave, rate, pitch, draw: seen.append((rate, pitch)) or wave,
    )
    for index in range(4):
        dataset[index]
    assert seen == [(16000, pitch) for pitch in [(80, 200), (90, 210), (100, 300), (110, 400)]]


@pytest.mark.parametrize("name", ["praat", "native"])
def test_engines_in_workers(data, name):
    dataset = make_dataset(data, backend=build_backend(name))
    first = batches_of(dataset, num_workers=2)
    same(first, batches_of(make_dataset(data, backend=build_backend(name))))
    assert not any(batch["skipped"] for batch in first)


def test_views_made_on_the_device_are_those_made_in_workers(data):
    """From the same draws, with marks found in the workers."""
    options = {"backend": build_backend("native"), "both_views": True}
    expected = batches_of(make_dataset(data, **options))
    pending = batches_of(make_dataset(data, **options, on_device=True), num_workers=2)
    for batch, other in zip(expected, pending):
        assert len(other["net_input"]["source"]) == len(batch["lengths"])
        completed = complete_views(other, 16000)
        assert completed["id"].tolist() == batch["id"].tolist()
        masks = [each["net_input"]["padding_mask"] for each in (completed, batch)]
        assert masks[0] is masks[1] is None or torch.equal(*masks)
        difference = completed["net_input"]["source"] - batch["net_input"]["source"]
        assert difference.abs().max() < 1e-4


class SomeMarks:
    """Stands for a cache: marks of even utterances, and what was asked for."""

    def __init__(self):
        self.asked = []

    def lookup(self, manifest, index, pitch_range):
        self.asked.append((index, pitch_range))
        wave = read_audio(manifest.path(index), sample_rate=16000)
        return find_pitch_marks(wave, 16000) if index % 2 == 0 else None


@pytest.mark.parametrize("on_device", [False, True])
def test_cached_marks_are_cropped_with_the_utterance(data, on_device):
    marks, backend = SomeMarks(), build_backend("native")
    whole = make_dataset(data, backend=backend, marks=marks, on_device=on_device, max_samples=10**6)
    fresh = make_dataset(data, backend=backend, on_device=on_device, max_samples=10**6)
    for index in (0, 1):
        same(*([dataset.collater([dataset[index]])] * 2 for dataset in (whole, fresh)))
    assert marks.asked == [(0, None), (1, None)]
    cropped = make_dataset(data, backend=backend, marks=marks, on_device=True, max_samples=12000)
    item = cropped[0]
    near = (item["marks"].times[:, None] - find_pitch_marks(item["views"][0], 16000).times).abs().amin(1)
    assert len(near) > 10 and (near < 16).float().mean() > 0.8  # an utterance's edge moves its own marks a little


def test_the_references_json(data, tmp_path):
    manifest = load_manifest(data, "train")
    rows = [[manifest.path(i), int(manifest.sizes[i])] for i in range(len(manifest))]
    (tmp_path / "train.json").write_text(json.dumps(rows))
    same(batches_of(make_dataset(tmp_path)), batches_of(make_dataset(data)))


# --- drop rules and sizes ---------------------------------------------------------------------------------------


def test_short_utterances_are_dropped_and_counted(data, caplog):
    sizes = load_manifest(data, "train").sizes
    smallest = int(np.sort(sizes)[4])
    with caplog.at_level(logging.INFO):
        dataset = make_dataset(data, min_samples=smallest)
    assert len(dataset) == 8 and dataset.manifest.sizes.min() == smallest
    assert f"4 of 12 utterances are under {smallest} samples" in caplog.text
    assert [len(dataset[i]["views"][0]) for i in range(8)] == dataset.sizes.tolist()


def test_nothing_is_long_enough(data):
    with pytest.raises(ManifestError, match="train.tsv: none of its 12 utterances has task.min_sample_size=10000000"):
        make_dataset(data, min_samples=10**7)


def test_sizes_are_those_of_one_view_after_the_crop(data):
    dataset = make_dataset(data, max_samples=20000)
    sizes = np.minimum(load_manifest(data, "train").sizes, 20000)
    assert [dataset.num_tokens(i) for i in range(12)] == [dataset.size(i) for i in range(12)] == sizes.tolist()
    assert dataset.num_tokens_vec(np.arange(12)).tolist() == sizes.tolist()
    for batch in batches_of(dataset, max_tokens=60000):
        assert len(batch["lengths"]) * max(batch["lengths"]) <= 60000


def test_batches_hold_utterances_of_similar_length_and_none_is_lost(data):
    dataset = make_dataset(data, max_samples=10**6)
    order = dataset.ordered_indices()
    assert sorted(order) == list(range(12))
    assert (np.diff(dataset.sizes[order] // 4000) <= 0).all()
    # fairseq-fixed drops what does not fill a multiple of 8; here nothing is dropped.
    batches = FairseqTask(None).get_batch_iterator(dataset, max_sentences=5, required_batch_size_multiple=8, seed=1)
    assert sorted(i for batch in batches.frozen_batches for i in batch) == list(range(12))


# --- batches ----------------------------------------------------------------------------------------------------


def lengths_and_batch(dataset, lengths):
    items = [{"index": i, "views": (np.ones(length, np.float32),) * 2} for i, length in enumerate(lengths)]
    return dataset.collater(items)["net_input"]


def test_padded_batches_have_few_shapes_and_others_no_mask(data):
    """Each batch had a length of its own, so a GPU planned for each; and a mask, without which attention is faster."""
    dataset = make_dataset(data)
    assert {lengths_and_batch(dataset, [length, 4001])["source"].size(1) for length in (4002, 5000, 8000)} == {8000}
    assert lengths_and_batch(dataset, [8000, 4001])["padding_mask"].sum() == 2 * 3999
    alike = lengths_and_batch(dataset, [5000, 5000])
    assert alike["padding_mask"] is None and alike["source"].shape == (4, 5000)


def test_crops_to_a_multiple_leave_batches_without_padding(data):
    train = make_dataset(data, crop_multiple=4000)
    assert (train.sizes == np.minimum(train.manifest.sizes, 20000) // 4000 * 4000).all() and (train.sizes > 0).all()
    assert [len(train[i]["views"][0]) for i in range(4)] == train.sizes[:4].tolist()
    batches = batches_of(train, max_sentences=2)
    assert any(batch["net_input"]["padding_mask"] is None and len(batch["lengths"]) == 2 for batch in batches)
    whole = make_dataset(data, "dev", crop_multiple=4000)
    assert (whole.sizes == np.minimum(whole.manifest.sizes, 20000)).all()
    short = make_dataset(data, crop_multiple=10**6)
    assert (short.sizes == np.minimum(short.manifest.sizes, 20000)).all()  # else nothing would be left of them


def test_what_a_batch_holds(speech_folder):
    phones = load_phone_labels(speech_folder.phones, "dev")
    dataset = make_dataset(speech_folder.data, "dev", phones=phones, max_samples=40000)
    items = [dataset[i] for i in (2, 0, 5)]
    batch = dataset.collater(items)
    source, mask = batch["net_input"]["source"], batch["net_input"]["padding_mask"]
    assert batch["id"].tolist() == [2, 0, 5] and batch["skipped"] == [] and batch["ignored"] is False
    assert source.dtype == torch.float32 and source.shape == mask.shape
    assert len(source) == 6 and 0 <= source.size(1) - max(batch["lengths"]) < 4000
    for row, item in enumerate(items):
        for half in (0, 1):
            length, place = len(item["views"][half]), row + 3 * half
            assert np.array_equal(source[place, :length].numpy(), item["views"][half])
            assert not source[place, length:].any()
            assert mask[place].tolist() == [False] * length + [True] * (source.size(1) - length)
        assert batch["lengths"][row] == length
        assert batch["phones"][row].tolist() == phones[dataset.manifest.utterance_id(item["index"])].tolist()
    assert batch["split"] == "dev"
