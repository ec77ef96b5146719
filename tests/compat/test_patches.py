"""What is patched, what each patch mends, and that none is in place before a training starts; in processes of their own."""

import subprocess
import sys
import textwrap

import pytest

# Everything that exists in these libraries, by place: a patch would put another object there.
SNAPSHOT = """
import logging, sys
import fairseq.models, fairseq.tasks, fairseq.trainer, fairseq.checkpoint_utils, fairseq.optim, hydra._internal.utils
import multiprocessing.queues, numpy, torch.utils.data
import joblib  # which changes multiprocessing itself
PATCHED = ("fairseq", "numpy", "hydra", "multiprocessing", "torch.utils.data")

def snapshot():
    found = {"root logger": (logging.root.level, *map(id, logging.root.handlers))}
    for module_name, module in sorted(sys.modules.items()):
        if module_name.startswith(PATCHED):
            for name, value in list(vars(module).items()):
                if name.startswith("__"):
                    continue
                found[module_name, name] = id(value)
                if isinstance(value, type) and value.__module__ == module_name:
                    own = [item for item in vars(value).items() if not item[0].startswith(("__", "_abc_"))]
                    found.update({(module_name, name, key): id(item) for key, item in own})
    return found

def changed(before):
    after = snapshot()
    # A module that is imported becomes an attribute of its package.
    return sorted(str(place) for place in before if before[place] != after.get(place) and ".".join(place) not in sys.modules)
"""


def run(code):
    """-> what the program printed. Fails with its errors."""
    process = subprocess.run([sys.executable, "-c", textwrap.dedent(code)], capture_output=True, text=True)
    assert process.returncode == 0, process.stderr[-3000:]
    return process.stdout


def test_importing_the_package_patches_nothing(speech_folder):
    """Whoever imports it for a checkpoint would have another numpy, and other data workers, than before."""
    lines = run(
        SNAPSHOT
        + textwrap.dedent(f"""
        before = snapshot()
        import spin_fairseq
        from fairseq.tasks import TASK_REGISTRY
        assert "spin" in TASK_REGISTRY
        print(changed(before))
        from spin_fairseq.tasks.spin import SpinTask, SpinTaskConfig
        SpinTask.setup_task(SpinTaskConfig(data={str(speech_folder.data)!r}, train_subset="train", seed=1))
        print(changed(before))
        """)
    ).splitlines()
    assert lines[0] == "[]"
    for place in (
        "_on_queue_feeder_error",
        "MP_STATUS_CHECK_INTERVAL",
        "all_gather_list",
        "train_step",
        "torch_persistent_save",
    ):
        assert place in lines[1]


@pytest.mark.slow
def test_hydra_prints_what_went_wrong():
    """With hydra 1.0 and Python 3.10 the last line was: print_exception() got an unexpected keyword argument 'etype'."""
    code = """
        from spin_fairseq import compat
        compat.apply()
        from hydra._internal.utils import run_and_report
        run_and_report(lambda: 1 / 0)
    """
    process = subprocess.run([sys.executable, "-c", textwrap.dedent(code)], capture_output=True, text=True)
    assert process.returncode == 1
    assert "ZeroDivisionError: division by zero" in process.stderr and "etype" not in process.stderr


@pytest.mark.slow
def test_an_epoch_does_not_wait_for_its_workers():
    """A loader that Python's garbage collector takes, as fairseq leaves them in cycles, waited 5 s for each worker."""
    run("""
        import gc, time
        import torch
        from fairseq.data import FairseqDataset, iterators
        from spin_fairseq import compat

        class Numbers(FairseqDataset):
            def __getitem__(self, index):
                return torch.tensor(index)

            def collater(self, numbers):
                return torch.stack(numbers)

        def seconds():
            batches = iterators.EpochBatchIterator(Numbers(), Numbers().collater, [[0], [1], [2]], num_workers=1)
            epoch = batches.next_epoch_itr(shuffle=False)
            for _ in range(3):
                next(epoch)
            time.sleep(0.5)  # as after a validation: the worker has nothing left to do
            batches.cycle = batches
            del batches, epoch
            start = time.perf_counter()
            gc.collect()
            return time.perf_counter() - start

        before = seconds()
        compat.apply()
        after = seconds()
        assert before > 4 and after < 3, (before, after)
    """)


@pytest.mark.slow
def test_counts_are_gathered_over_gloo():
    """Validation of ranks on CPUs ended with: Torch not compiled with CUDA enabled."""
    run("""
        import tempfile
        import torch
        from fairseq.distributed import utils
        from spin_fairseq import compat

        store = torch.distributed.FileStore(tempfile.NamedTemporaryFile().name, 1)
        torch.distributed.init_process_group("gloo", store=store, rank=0, world_size=1)
        group = torch.distributed.group.WORLD
        counts = {"pairs": torch.arange(3)}
        if not torch.cuda.is_available():
            try:
                utils.all_gather_list(counts, group)
            except Exception:
                pass
            else:
                raise SystemExit("fairseq does without CUDA: the patch has no use any more")
        compat.apply()
        compat.apply()
        (gathered,) = utils.all_gather_list(counts, group)
        assert gathered["pairs"].tolist() == [0, 1, 2]
    """)


@pytest.mark.slow
def test_a_module_that_workers_would_import():
    """A forked data worker of torch 2.2 waited for ever for the import lock."""
    import torch

    if not hasattr(torch.nested, "_internal"):
        pytest.skip(f"torch {torch.__version__} has no torch.nested._internal")
    run("""
        import sys
        from spin_fairseq import compat
        compat.apply()
        assert "torch.nested._internal.nested_tensor" in sys.modules
    """)
