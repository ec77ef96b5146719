import importlib.util
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch

from spin_fairseq.checkpoints import load_spin
from spin_fairseq.checkpoints.writers import convert
from spin_fairseq.speech.audio import read_audio
from tests.small_hubert import LARGE_FORM
from tests.spin_checkpoints import save_spin

SCRIPT = Path(__file__).resolve().parents[2] / "examples" / "rvc" / "extract_features.py"


@pytest.fixture(scope="module")
def script():
    assert "import spin_fairseq" not in SCRIPT.read_text()
    spec = importlib.util.spec_from_file_location("extract_features", SCRIPT)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def wavs(speech_folder, tmp_path):
    folder = tmp_path / "1_16k_wavs"
    folder.mkdir()
    for path in sorted((speech_folder.data / "audio").rglob("*-dev-*"))[:3]:
        soundfile.write(folder / f"{path.stem}.wav", read_audio(path), 16000, subtype="FLOAT")
    return folder


@pytest.mark.parametrize("form", [{}, {"normalize": True, **LARGE_FORM}], ids=["base", "large form"])
@torch.no_grad()
def test_layer_features(script, wavs, tmp_path, form):
    checkpoint = save_spin(tmp_path / "spin.pt", encoder=form)
    convert(checkpoint, tmp_path / "hubert_base.pt", "hubert")
    arguments = [str(tmp_path / "hubert_base.pt"), str(wavs)]
    script.main([*arguments, str(tmp_path / "v2"), "--layer", "2"])
    script.main([*arguments, str(tmp_path / "v1"), "--layer", "3", "--final-proj"])
    model, files = load_spin(checkpoint), sorted(wavs.iterdir())
    assert len(files) == 3 == len(list((tmp_path / "v2").iterdir()))
    for path in files:
        wave = torch.from_numpy(read_audio(path))[None]
        found = torch.from_numpy(np.load(tmp_path / "v2" / f"{path.stem}.npy"))
        torch.testing.assert_close(found, model.extract_features(wave, output_layer=2)[0][0], rtol=1e-4, atol=2e-4)
        found = torch.nn.functional.normalize(torch.from_numpy(np.load(tmp_path / "v1" / f"{path.stem}.npy")), dim=-1)
        torch.testing.assert_close(found, model.extract_embeddings(wave)[0], rtol=1e-4, atol=1e-4)


def test_goes_on_and_names_what_is_wrong(script, wavs, tmp_path):
    convert(save_spin(tmp_path / "spin.pt"), tmp_path / "hubert_base.pt", "hubert")
    arguments = [str(tmp_path / "hubert_base.pt"), str(wavs), str(tmp_path / "out")]
    first = sorted(wavs.iterdir())[0]
    (tmp_path / "out").mkdir()
    np.save(tmp_path / "out" / f"{first.stem}.npy", np.zeros(1))
    script.main([*arguments, "--layer", "1"])
    assert len(np.load(tmp_path / "out" / f"{first.stem}.npy")) == 1  # left as it was
    assert len(list((tmp_path / "out").glob("*.npy"))) == 3
    soundfile.write(wavs / "zz.wav", np.zeros(8000), 8000)
    with pytest.raises(SystemExit, match="zz.wav: has 8000 Hz"):
        script.main(arguments)
    with pytest.raises(SystemExit, match="gone: no folder with .wav or .flac files"):
        script.main([arguments[0], str(tmp_path / "gone"), arguments[2]])
