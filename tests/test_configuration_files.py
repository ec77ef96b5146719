"""The YAML files that come with the package, and the page that explains their keys."""

import importlib.util
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[1]
COMPOSE = """
import hydra, os
from omegaconf import OmegaConf

@hydra.main(config_path=None)
def main(cfg):
    cfg = OmegaConf.to_container(cfg, resolve=True)
    cfg["run_folder"] = os.getcwd()
    open(os.environ["OUT"], "w").write(OmegaConf.to_yaml(OmegaConf.create(cfg)))

main()
"""


def composed(name, folder):
    """What hydra makes of a file, and the folder of the run."""
    pytest.importorskip("hydra", reason="comes with fairseq")
    out = folder / f"{name}.yaml"
    program = folder / "train.py"
    program.write_text(COMPOSE)
    command = [
        sys.executable,
        "-W",
        "ignore",
        str(program),
        "--config-dir",
        str(ROOT / "config"),
        "--config-name",
        name,
    ]
    command += [
        "task.data=data",
        "model.checkpoint=base.pt",
        *(["task.pieces=pieces"] if name.startswith("rspin") else []),
    ]
    process = subprocess.run(command, cwd=folder, env={"OUT": str(out), "PATH": ""}, capture_output=True, text=True)
    assert process.returncode == 0, process.stderr
    return yaml.safe_load(out.read_text())


@pytest.mark.parametrize("recipe, updates", [("spin", 5000), ("rspin", 10000)])
def test_wavlm_takes_the_recipe_of_hubert(tmp_path, recipe, updates):
    """Guards against two copies of the recipe that go apart, comments included."""
    recipes = [
        (ROOT / "config" / f"{recipe}_{name}_base.yaml").read_text().partition("\nhydra:")[2]
        for name in ("hubert", "wavlm")
    ]
    assert recipes[0] == recipes[1]
    hubert, wavlm = (composed(f"{recipe}_{name}_base", tmp_path) for name in ("hubert", "wavlm"))
    folders = hubert.pop("run_folder"), wavlm.pop("run_folder")
    assert folders == tuple(str(tmp_path / f"outputs/{recipe}_{name}_base") for name in ("hubert", "wavlm"))
    assert wavlm == hubert and hubert["optimization"]["max_update"] == updates


def test_rspin_is_spin_but_for_what_the_paper_changes(tmp_path):
    """Guards against a key of Spin's recipe that R-Spin's does not follow."""
    spin, rspin = (composed(f"{name}_hubert_base", tmp_path) for name in ("spin", "rspin"))
    different = {
        f"{section}.{key}"
        for section in spin.keys() - {"run_folder"}
        for key in spin[section].keys() | rspin[section].keys()
        if spin[section].get(key) != rspin[section].get(key)
    }
    assert different == {
        "task.noise", "task.reverberation", "task.pieces", "model.freeze", "model.codebook_sizes", "dataset.max_tokens",
        "optimization.max_update", "lr_scheduler.warmup_updates", "lr_scheduler.total_num_update",
    }  # fmt: skip
    assert rspin["dataset"]["max_tokens"] == 384 * 16000 and rspin["criterion"]["pieces_weight"] == 5


def test_dcspin_is_the_recipe_of_spin_with_two_codebooks():
    """Guards against a key that is added to one file and not to the other, and against a recipe that differs unsaid."""
    spin, dcspin = (
        yaml.safe_load((ROOT / "config" / f"{name}_hubert_base.yaml").read_text()) for name in ("spin", "dcspin")
    )
    assert dcspin["model"].pop("codebook_sizes") == [500, 4096] and spin["model"].pop("codebook_sizes") == [256]
    assert dcspin["criterion"].pop("codebook_weights") == [1, 1] and spin["criterion"].pop("codebook_weights") is None
    assert dcspin == spin


def test_the_page_of_keys_is_current():
    """`python scripts/write_configuration_page.py` writes it anew."""
    pytest.importorskip("fairseq", reason="the configuration is declared in fairseq's form")
    path = ROOT / "scripts" / "write_configuration_page.py"
    spec = importlib.util.spec_from_file_location("write_configuration_page", path)
    script = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(script)
    assert script.PAGE.read_text(encoding="utf-8") == script.page()
    for section, config in script.OWN.items():
        for name, field in config.__dataclass_fields__.items():
            passed_on = name == "_name" or str(field.default).startswith("${")  # another section's key
            assert passed_on or field.metadata.get("help"), f"{section}.{name} is not explained"
