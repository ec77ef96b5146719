"""The export for transformers, by transformers itself, and the example of its model card as it stands there."""

import re

import pytest
import soundfile
import torch

from spin_fairseq.checkpoints import load_spin
from spin_fairseq.checkpoints.writers import convert
from spin_fairseq.speech.audio import read_audio
from spin_fairseq.speech.manifest import load_manifest
from tests.small_hubert import LARGE_FORM
from tests.spin_checkpoints import save_spin

transformers = pytest.importorskip("transformers")

FORMS = {
    "hubert": {},
    "hubert, large form, last layer": {"encoder": {"normalize": True, **LARGE_FORM}, "head_dims": [48, 32]},
    "wavlm, lower layer": {"kind": "wavlm", "output_layer": 2},
    "wavlm, large form": {"kind": "wavlm", "encoder": {"normalize": True, **LARGE_FORM}},
}


@pytest.fixture(params=FORMS, ids=str)
def exported(request, tmp_path):
    """-> the Spin checkpoint and the folder."""
    checkpoint = save_spin(tmp_path / "spin.pt", **FORMS[request.param])
    convert(checkpoint, tmp_path / "hf", "hf")
    return checkpoint, tmp_path / "hf"


@torch.no_grad()
def test_every_layer(exported):
    checkpoint, folder = exported
    theirs, info = transformers.AutoModel.from_pretrained(folder, output_loading_info=True)
    assert not info["missing_keys"] and not info["unexpected_keys"] and not info["mismatched_keys"]
    encoder = load_spin(checkpoint).encoder
    extractor = transformers.AutoFeatureExtractor.from_pretrained(folder)
    wave = 0.2 + 0.3 * torch.randn(20017, generator=torch.Generator().manual_seed(1))
    inputs = extractor(wave.numpy(), sampling_rate=16000, return_tensors="pt").input_values
    theirs.eval().encoder.layer_norm = (
        theirs.encoder.layer_norm if not encoder.cfg.layer_norm_first else torch.nn.Identity()
    )
    outputs = theirs(inputs, output_hidden_states=True).hidden_states
    layers = encoder.encode_layers(wave[None])
    assert len(outputs) == len(layers) + 1 and type(theirs).__name__ in ("HubertModel", "WavLMModel")
    for output, layer in zip(outputs[1:], layers):
        torch.testing.assert_close(output, layer, rtol=1e-4, atol=2e-4)


def test_the_example_of_the_card_gives_our_units(exported, speech_folder, monkeypatch):
    checkpoint, folder = exported
    manifest = load_manifest(speech_folder.data, "dev")
    wave = read_audio(manifest.path(0))
    soundfile.write(folder / "speech.wav", wave, 16000, subtype="FLOAT")
    (example,) = re.findall(r"```python\n(.*?)```", (folder / "README.md").read_text(), re.S)
    assert len(example.splitlines()) <= 22 and "spin_fairseq" not in example
    monkeypatch.chdir(folder)
    names = {}
    exec(compile(example, "README.md", "exec"), names)
    with torch.no_grad():
        expected = load_spin(checkpoint).extract_units(torch.from_numpy(wave)[None])[0].tolist()
    assert names["units"] == expected and len(set(expected)) > 1
