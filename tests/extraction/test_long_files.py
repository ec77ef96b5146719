import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from spin_fairseq.checkpoints import load_encoder
from spin_fairseq.encoders import AS_USUAL
from spin_fairseq.extraction.long_files import Chunks, chunk_spans, run
from tests.small_hubert import LARGE_FORM


@given(st.integers(400, 200000), st.integers(2, 60), st.integers(1, 20))
def test_each_frame_is_kept_once(samples, chunk, overlap):
    chunk, overlap = 640 * chunk, 640 * min(overlap, chunk // 2)
    kept = []
    for begin, end, start, stop in chunk_spans(samples, chunk, overlap, 320):
        assert begin % 320 == 0 and end - begin <= chunk
        frames = (end - begin - 400) // 320 + 1
        stop = frames if stop is None else stop
        assert stop <= frames
        kept += [begin // 320 + frame for frame in range(start, stop)]
    assert kept == list(range((samples - 400) // 320 + 1))


@pytest.mark.parametrize("options", [{}, {"normalize": True, **LARGE_FORM}], ids=["base", "normalised large form"])
@torch.no_grad()
def test_all_but_attention_is_that_of_the_whole_file(make_hubert, options):
    encoder = load_encoder(make_hubert(**options))
    for layer in encoder.encoder.layers:
        layer.self_attn.out_proj.weight.zero_()
    torch.manual_seed(0)
    wave = 0.1 + torch.randn(16000 * 5 + 123) * torch.linspace(0.1, 1.0, 16000 * 5 + 123)

    def compute(source, mask, mode=AS_USUAL):
        return encoder.extract_features(source, mask, mode=mode)[0]

    before = set(vars(encoder))
    chunks = Chunks(encoder, seconds=2.0, overlap_seconds=1.0)
    (found,) = chunks.compute(compute, wave, max_samples=70000)
    torch.testing.assert_close(found, compute(wave[None], None)[0], rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(run(compute, [wave])[0][0], found, rtol=1e-4, atol=1e-4)
    assert vars(encoder).keys() == before
