"""Encoders of other frame rates than 50 Hz: what validation says of their units is what the evaluation says."""

import json

import pytest
import torch

from spin_fairseq.checkpoints import load_spin
from spin_fairseq.errors import ConfigError
from spin_fairseq.evaluation.corpus import load_corpus
from spin_fairseq.evaluation.features.cache import FeatureCache
from spin_fairseq.evaluation.features.specs import parse_specs
from spin_fairseq.evaluation.runner import Evaluation
from spin_fairseq.report.results import read_results
from spin_fairseq.speech.audio import audio_info
from spin_fairseq.speech.manifest import write_manifest
from tests.small_task import small_task
from tests.spin_checkpoints import save_spin
from tests.tasks.test_codebook_init import config
from tests.tasks.test_spin_task import reduced, valid_logs

ABOUT = {"command": "evaluate", "versions": {}}
CONVOLUTIONS = {  # samples from frame to frame: layers
    160: "[(32,10,5)] + [(32,3,2)] * 5",
    192: "[(32,10,6)] + [(32,3,2)] * 5",
    320: "[(32,10,5)] + [(32,3,2)] * 4 + [(32,2,2)] * 2",
    360: "[(32,10,5)] + [(32,3,3)] * 2 + [(32,3,2)] * 3",
    640: "[(32,10,5)] + [(32,3,2)] * 4 + [(32,2,2)] * 3",
    1001: "[(32,12,7)] + [(32,11,11)] + [(32,13,13)]",
    1280: "[(32,10,5)] + [(32,3,2)] * 4 + [(32,2,2)] * 4",
}


@pytest.mark.parametrize("hop", CONVOLUTIONS)
@torch.no_grad()
def test_validation_says_of_units_what_the_evaluation_says(speech_folder, tmp_path, hop):
    """Guards against units taken for 20 ms: the best checkpoint was chosen by a PNMI that was none."""
    checkpoint = save_spin(
        tmp_path / "spin.pt", encoder={"conv_feature_layers": CONVOLUTIONS[hop], "label_rate": 16000 / hop}
    )
    model = load_spin(checkpoint)
    assert model.encoder.hop == hop and model.encoder.frame_seconds == hop / 16000
    task = small_task(speech_folder)
    task.load_dataset("dev")
    task.begin_valid_epoch(1, model)
    validated = reduced(task, *valid_logs(task, model, [[0, 3, 1], [2, 4, 5]]))

    corpus = load_corpus([speech_folder.data / "dev.tsv"], [speech_folder.phones])
    cache = FeatureCache(tmp_path / "cache", 1e9, "float32", "cpu", 0)
    evaluation = Evaluation(
        tmp_path / "out", corpus, parse_specs([f"spin={checkpoint}"]), ["phones"], cache, samples=10, about=ABOUT
    )
    assert evaluation.run()
    (written,) = json.loads((tmp_path / "out" / "results.json").read_text())["models"]
    for key, metric in written["metrics"]["phones"].items():
        if key in validated:
            assert validated[key] == pytest.approx(metric["value"], abs=5.1e-5)  # fairseq rounds to 4 digits
    assert 0 < validated["pnmi"] < 1
    (read,) = read_results(tmp_path / "out").models  # what the report's players go by
    assert written["frame_seconds"] == read.frame_seconds == hop / 16000


def test_utterances_without_a_frame_of_the_encoder_are_left_out(speech_folder, make_hubert, tmp_path):
    """Guards against an error of a convolution: an encoder's first frame may be longer than the shortest utterance."""
    wide = make_hubert(conv_feature_layers=CONVOLUTIONS[1280], label_rate=12.5)
    audio = speech_folder.data / "audio"
    files = sorted(audio.rglob("19-*.*"))
    for split in ("train", "dev"):
        rows = [(str(file.relative_to(audio)), audio_info(file)[0]) for file in files[:3]]
        write_manifest(tmp_path / f"{split}.tsv", audio, [*rows, (str(files[3].relative_to(audio)), 1000)])
    task = small_task(speech_folder, data=str(tmp_path), phones=None)
    task.build_model(config(wide))
    for split in ("train", "dev"):
        task.load_dataset(split)
        assert len(task.dataset(split)) == 3
    with pytest.raises(ConfigError, match="task.max_sample_size is 1000: one frame of this encoder has 1360 samples"):
        small_task(speech_folder, max_sample_size=1000).build_model(config(wide))
