"""What the tests of the readers share: waves, layers side by side, and where s3prl's files are."""

from pathlib import Path

import torch

S3PRL_FILES = Path(__file__).parent / "s3prl"
S3PRL_GIVEN = {"hubert": {"encoder_attention_heads": 4}, "wavlm": {"max_distance": 20}}  # the reference saves neither
LENGTHS = (400, 3000, 8017, 20000)  # samples


def waves():
    generator = torch.Generator().manual_seed(1)
    return [0.1 + torch.randn(length, generator=generator) for length in LENGTHS]


def layers_by_hooks(model, layers, source):
    """The output of each of `layers`, modules of `model`, in one pass over source (1, T)."""
    outputs = []

    def note(_, __, output):
        outputs.append(output[0] if isinstance(output, tuple) else output)

    hooks = [layer.register_forward_hook(note) for layer in layers]
    model(source)
    for hook in hooks:
        hook.remove()
    return outputs


@torch.no_grad()
def assert_every_layer_equal(encoder, theirs, prepare=lambda wave: wave):
    """theirs(source (1, T)) -> the list of their layers' outputs; prepare: what they want done with a wave."""
    for wave in waves():
        outputs, expected = encoder.encode_layers(wave[None]), theirs(prepare(wave)[None])
        assert len(outputs) == len(expected) == encoder.num_layers
        assert expected[0].std() > 0.1
        for output, other in zip(outputs, expected):
            torch.testing.assert_close(output, other, rtol=0.0, atol=1e-4)
