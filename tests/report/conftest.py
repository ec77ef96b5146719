import pytest

pytest.importorskip("plotly")
pytest.importorskip("tensorboard")
pytest.importorskip("matplotlib")

from tests.report.small_report import make_results, make_run


@pytest.fixture(scope="session")
def run_folder(tmp_path_factory):
    return make_run(tmp_path_factory.mktemp("runs") / "first")


@pytest.fixture(scope="session")
def results_folder(tmp_path_factory, speech_folder):
    return make_results(tmp_path_factory.mktemp("results") / "evaluation", speech_folder)
