"""What tests of several rooms share: synthetic speech, and small genuine HuBERT checkpoints made by fairseq itself.

Without fairseq a test file that imports it, or a room of the package that does, is skipped; so is a test that asks for
fairseq's own HuBERT. All other tests run.
"""

import spin_fairseq  # noqa: F401  registers the models

import ast
import os
import sys
from importlib.util import find_spec

import pytest
import torch

from tests.small_hubert import hubert_checkpoint
from tests.synthetic_speech import make_speech

NEED_FAIRSEQ = (
    "fairseq", "fairseq_cli", "hydra", "omegaconf",
    *(f"spin_fairseq.{room}" for room in ("tasks", "models", "criterions", "data", "compat", "registration")),
    "tests.fairseq_runs", "tests.small_dataset", "tests.small_task", "tests.tasks",
)  # fmt: skip


class SkippedModule(pytest.Module):
    """A test file that needs fairseq."""

    def _getobj(self):
        pytest.skip("needs fairseq", allow_module_level=True)


def pytest_pycollect_makemodule(module_path, parent):
    if find_spec("fairseq") is None and _imports_fairseq(module_path):
        return SkippedModule.from_parent(parent, path=module_path)
    return None


def _imports_fairseq(path):
    """Whether a file imports what needs fairseq when it is imported itself."""
    names = set()
    for node in ast.parse(path.read_text(encoding="utf-8")).body:
        if isinstance(node, ast.Import):
            names.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            names.update({node.module, *(f"{node.module}.{alias.name}" for alias in node.names)})
    return any(name == needed or name.startswith(f"{needed}.") for name in names for needed in NEED_FAIRSEQ)


@pytest.fixture(autouse=True)
def no_metrics_of_other_tests():
    """fairseq keeps what is logged under a name for the whole process, and saves it with each checkpoint."""
    yield
    if "fairseq.logging.metrics" in sys.modules:
        sys.modules["fairseq.logging.metrics"].reset()


@pytest.fixture(scope="session")
def speech_folder(tmp_path_factory):
    """12 training and 6 dev utterances of 1.1 to 2 s by 4 synthetic voices; not to be changed: copy it for that."""
    return make_speech(tmp_path_factory.mktemp("speech"))


@pytest.fixture(scope="session")
def make_hubert(tmp_path_factory):
    """make_hubert(normalize=False, seed=0, **HubertConfig keys) -> path of a small HuBERT checkpoint in fairseq's form.

    LARGE_FORM and NO_DROPOUT of tests/small_hubert.py are sets of keys.
    """
    made = {}

    def make(**options):
        key = tuple(sorted(options.items()))
        if key not in made:
            made[key] = tmp_path_factory.mktemp("hubert") / "hubert.pt"
            torch.save(hubert_checkpoint(**options), made[key])
        return made[key]

    return make


@pytest.fixture(scope="session")
def small_hubert(make_hubert):
    """Path of a fairseq HuBERT checkpoint with random weights: 3 layers x 64, Base form, its dropout as usual."""
    return make_hubert()


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_auto_num_workers():
    """A worker has a model or two, and runs of fairseq beside it: more than eight would want much memory."""
    return min(8, os.cpu_count())


def pytest_collection_modifyitems(items):
    """Tests marked `gpu` say where they are skipped, and why."""
    if not torch.cuda.is_available():
        for item in items:
            if item.get_closest_marker("gpu"):
                item.add_marker(pytest.mark.skip(reason="no CUDA device on this machine"))
