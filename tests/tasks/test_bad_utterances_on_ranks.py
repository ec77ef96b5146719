"""Too many bad utterances on one of two ranks stop both."""

import shutil
import socket

import pytest

from spin_fairseq.speech.manifest import load_manifest, write_manifest
from tests.fairseq_runs import hydra_command, start


@pytest.mark.slow
def test_both_ranks_stop(speech_folder, small_hubert, tmp_path):
    manifest = load_manifest(speech_folder.data, "train")
    paths = [str(manifest.path(index)) for index in range(len(manifest))]
    shortest = min(range(len(paths)), key=lambda index: manifest.sizes[index])
    paths[shortest] += ".gone"
    rows = [(path.lstrip("/"), int(size)) for path, size in zip(paths, manifest.sizes)]
    write_manifest(tmp_path / "train.tsv", "/", rows)
    shutil.copy(speech_folder.data / "dev.tsv", tmp_path)  # fairseq 0.12.2 loads it without validation too
    speech = type(speech_folder)(tmp_path, speech_folder.phones, {})

    with socket.socket() as free:
        free.bind(("localhost", 0))
        address = f"tcp://localhost:{free.getsockname()[1]}"
    ranks = []
    for rank in range(2):
        overrides = {
            "distributed_world_size": 2, "distributed_rank": rank, "distributed_init_method": address,
            "distributed_backend": "gloo", "distributed_no_spawn": "true",
        }  # fmt: skip
        command = hydra_command(
            speech, small_hubert, tmp_path / "run", "dataset.disable_validation=true", "dataset.batch_size=3",
            "checkpoint.best_checkpoint_metric=loss", "task.perturbation=none", "optimization.max_update=20",
            *(f"distributed_training.{key}={value}" for key, value in overrides.items()),
        )  # fmt: skip
        ranks.append(start(command, tmp_path / "run", RANK_LOG=str(rank)))
    try:
        codes = [rank.wait(timeout=300) for rank in ranks]
    finally:
        for rank in ranks:
            rank.kill()
    logs = [(tmp_path / "run" / f"log{rank}").read_text() for rank in range(2)]
    assert all(codes), logs
    for log in logs:
        assert "AudioError: 1 of the 12 utterances of split 'train' are bad" in log
    assert "num_updates=2," in logs[0] and "num_updates=3," not in logs[0]  # an epoch has two
    assert sum("1 on other ranks" in log for log in logs) == 1 and sum("no such file" in log for log in logs) == 1
