import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import spin_fairseq
from spin_fairseq.errors import AudioError, ConfigError
from spin_fairseq.extraction.streaming import StreamingSpin
from tests.small_hubert import LARGE_FORM
from tests.spin_checkpoints import small_spin

RATE = 16000
KINDS = {
    "hubert base": small_spin()[0],
    "hubert large": small_spin(encoder={**LARGE_FORM, "normalize": True})[0],
    "wavlm": small_spin("wavlm")[0],
}
SMALL = {"chunk_ms": 80, "look_ahead_ms": 60, "left_context_ms": 200}


def waves(seconds, seed=0):
    """Noise whose loudness changes, so that statistics of what was heard are not those of the whole."""
    generator = np.random.default_rng(seed)
    loudness = np.repeat(generator.uniform(0.01, 0.3, int(seconds * 10) + 1), 1600)[: int(seconds * RATE)]
    return (loudness * generator.standard_normal(len(loudness))).astype(np.float32)


WAVE = waves(1.7)


def streamed(model, pieces, **options):
    """-> all units, times and features of the pieces, and of the end."""
    stream = StreamingSpin(model, **{**SMALL, **options})
    found = [*map(stream.push, pieces), stream.flush()]
    features = [each.features for each in found if each.features is not None]
    return (
        torch.cat([each.units for each in found]),
        torch.cat([each.times for each in found]),
        torch.cat(features) if features else None,
    )


@pytest.fixture(scope="module", params=KINDS)
def model(request):
    return KINDS[request.param]


@settings(max_examples=15, deadline=None)
@given(
    kind=st.sampled_from(list(KINDS)),
    cuts=st.lists(st.integers(0, len(WAVE)), max_size=12),
    options=st.fixed_dictionaries(
        {
            "chunk_ms": st.sampled_from([20, 80, 300, 5000]),
            "look_ahead_ms": st.sampled_from([0, 60, 400]),
            "left_context_ms": st.sampled_from([0, 200]),
            "statistics_ms": st.sampled_from([None, 5, 300]),
        }
    ),
)
def test_units_do_not_depend_on_how_samples_arrive(kind, cuts, options):
    """Guards against a chunk, or statistics of the norms, that are cut where a piece of audio ends."""
    options = {**options, "features": True}
    units, times, features = streamed(KINDS[kind], [WAVE], **options)
    others = streamed(KINDS[kind], np.split(WAVE, sorted(cuts)), **options)
    assert torch.equal(units, others[0]) and torch.equal(times, others[1]) and torch.equal(features, others[2])
    assert len(units) == KINDS[kind].encoder.output_lengths(len(WAVE))


def test_within_one_chunk_it_is_the_whole_file(model):
    """Guards against chunks that differ from the whole file by more than what they cannot see."""
    whole = torch.from_numpy(WAVE)[None]
    with torch.no_grad():
        expected = model.extract_units(whole)[0]
        layer = model.extract_features(whole, output_layer=2)[0][0]
    units, times, features = streamed(model, np.array_split(WAVE, 9), chunk_ms=10_000, features=True, layer=2)
    assert torch.equal(units, expected)
    torch.testing.assert_close(features, layer, rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(times, torch.arange(len(units)).double() * 0.02)


def test_a_chunk_sees_its_context_and_nothing_else(model):
    """Guards against frames that are one place off: each chunk is computed alone, by the whole-file code."""
    encoder, statistics = model.encoder, model.encoder.statistics(torch.from_numpy(WAVE)[None])
    hop, frames = encoder.hop, encoder.output_lengths(len(WAVE))
    units, _, features = streamed(model, np.array_split(WAVE, 5), statistics=statistics, features=True)
    chunk, ahead, left = 4, 3, 10
    for begin in range(0, frames, chunk):
        first, until = max(0, begin - left), begin + chunk + ahead
        last = until > frames  # the rest of the stream is one chunk
        until, end = (frames, frames) if last else (until, begin + chunk)
        wave = torch.from_numpy(WAVE[first * hop : (until - 1) * hop + 400])[None]
        with torch.no_grad():
            expected = model.extract_features(wave, mode=spin_fairseq.encoders.Mode(statistics=statistics))[0][0]
        torch.testing.assert_close(features[begin:end], expected[begin - first : end - first], rtol=1e-4, atol=1e-4)
        if last:
            break


def test_more_context_comes_closer_to_the_whole_file(model):
    """Guards against a look-ahead or left context that is waited for, or kept, and not used."""
    wave = waves(6.0, seed=1)
    with torch.no_grad():
        whole = model.extract_features(torch.from_numpy(wave)[None])[0][0]

    def error(**options):
        statistics = model.encoder.statistics(torch.from_numpy(wave)[None])
        features = streamed(model, [wave], features=True, statistics=statistics, **options)[2]
        return (features - whole).square().mean().item()

    assert error(look_ahead_ms=1000) < error(look_ahead_ms=0)
    assert error(left_context_ms=2000) < error(left_context_ms=0)


def test_statistics_of_the_beginning_are_forgotten():
    """Guards against frames of the context whose norms stay those of the silence before the speech."""
    model = KINDS["hubert base"]
    wave = np.concatenate([0.001 * waves(2.0), waves(3.0, seed=1)])
    with torch.no_grad():
        last = model.extract_features(torch.from_numpy(wave)[None])[0][0, -40:]
    settings = {"chunk_ms": 400, "look_ahead_ms": 200, "left_context_ms": 1000, "features": True}
    stale = model.encoder.statistics(torch.from_numpy(wave[:32000])[None])
    error = [
        (streamed(model, [wave], **settings, **more)[2][-40:] - last).square().mean()
        for more in ({}, {"statistics": stale})
    ]
    assert error[0] < 0.2 * error[1]


def test_units_come_when_their_latency_has_passed(model):
    """Guards against units that are held back, or that come before their look-ahead was heard."""
    stream = StreamingSpin(model, **SMALL)
    assert stream.latency_ms == 80 + 60 + 5  # a frame sees 25 ms, and begins 20 ms after the one before
    needed = int(stream.latency_ms * RATE / 1000)
    assert len(stream.push(WAVE[: needed - 1])) == 0
    assert len(stream.push(WAVE[needed - 1 : needed])) == 4
    assert len(stream.push(WAVE[needed : needed + 4 * 320])) == 4


def test_int16_and_torch_give_the_same(model):
    """Guards against int16 of a microphone that is taken as loud as it stands, and against the caller's array in the state."""
    pcm = (WAVE * 32767).clip(-32768, 32767).astype(np.int16)
    expected = streamed(model, [pcm.astype(np.float32) / 32768])[0]
    assert torch.equal(streamed(model, np.array_split(pcm, 7))[0], expected)
    assert torch.equal(streamed(model, torch.from_numpy(pcm).split(999))[0], expected)
    assert torch.equal(streamed(model, [(pcm / 32768).astype(">f8")])[0], expected)
    stream, buffer, units = StreamingSpin(model, **SMALL), np.zeros(500, np.int16), []
    for begin in range(0, len(pcm), 500):
        size = len(pcm[begin : begin + 500])
        buffer[:size] = pcm[begin : begin + 500]
        units.append(stream.push(buffer[:size]).units)
    assert torch.equal(torch.cat([*units, stream.flush().units]), expected)


def test_what_is_no_wave_is_refused_and_changes_nothing():
    stream = StreamingSpin(KINDS["wavlm"], **SMALL)
    stream.push(WAVE[:3000])
    for wrong, word in [
        (WAVE[None], "one channel"), (np.full(9, np.nan), "NaN"), (np.array([1.0, np.inf], np.float32), "NaN"),
        (np.zeros(9, np.int32), "int32"), (np.zeros(9, bool), "bool"), (torch.zeros(9, dtype=torch.uint8), "uint8"),
    ]:  # fmt: skip
        with pytest.raises(AudioError, match=word):
            stream.push(wrong)
    rest = [stream.push(WAVE[3000:]), stream.flush()]
    assert torch.equal(
        torch.cat([each.units for each in rest]), streamed(KINDS["wavlm"], [WAVE])[0][-sum(map(len, rest)) :]
    )


@pytest.mark.parametrize(
    "options",
    [
        {"chunk_ms": 0}, {"look_ahead_ms": -20}, {"left_context_ms": float("nan")}, {"codebook": 2}, {"layer": 9},
        {"statistics_ms": 0}, {"chunk_ms": "80"},
    ],
)  # fmt: skip
def test_settings_out_of_range_are_named(options):
    with pytest.raises(ConfigError, match=next(iter(options))):
        StreamingSpin(KINDS["wavlm"], **options)


def test_end_and_reset():
    """Guards against a second stream that hears the end of the first."""
    stream = StreamingSpin(KINDS["hubert base"], codebook=1, **SMALL)
    first = torch.cat([stream.push(WAVE).units, stream.flush().units])
    assert len(stream.flush()) == 0
    with pytest.raises(ConfigError, match="reset"):
        stream.push(WAVE)
    stream.reset()
    assert torch.equal(torch.cat([stream.push(WAVE).units, stream.flush().units]), first)
    stream.reset()
    assert len(stream.push(WAVE[:399])) == len(stream.push(np.zeros(0, np.float32))) == len(stream.flush()) == 0


def test_state_does_not_grow(model):
    """Guards against samples, frames or statistics that are kept for the whole stream."""

    def state(seconds):
        stream = StreamingSpin(model, statistics_ms=500, **SMALL)
        for _ in range(round(seconds / 0.02)):
            stream.push(WAVE[:320])
        tensors = [each for each in vars(stream).values() if isinstance(each, torch.Tensor)]
        size = sum(each.untyped_storage().nbytes() for each in tensors)
        return size, len(stream._running._pieces), stream._next

    short, long = state(3.2), state(12.8)
    assert short[:2] == long[:2] and long[2] > 3 * short[2]


def test_an_error_in_the_middle_loses_nothing(monkeypatch):
    """Guards against Ctrl-C, or a full GPU, in the middle of a chunk, behind which the units are those of other frames."""
    model = KINDS["hubert base"]
    expected = streamed(model, [WAVE])[0]
    stream = StreamingSpin(model, **SMALL)
    units = [stream.push(WAVE[:4000]).units]
    with monkeypatch.context() as patch:
        patch.setattr(type(model.head), "embed", lambda *_: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            stream.push(WAVE[4000:6000])
    units += [stream.push(WAVE[6000:]).units, stream.flush().units]
    assert torch.equal(torch.cat(units), expected)


def test_exported_at_the_top():
    assert spin_fairseq.StreamingSpin is StreamingSpin
