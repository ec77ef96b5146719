"""Train Spin with fairseq. CONFIG is the name of a configuration that comes with this package (spin_hubert_base,
spin_wavlm_base, dcspin_hubert_base, rspin_hubert_base, rspin_wavlm_base, spin_demo), or a YAML file of your own. KEY=VALUE
changes a key of it, as with fairseq-hydra-train, but paths need not be quoted for Hydra.

The command prints the fairseq-hydra-train command that it runs, and returns its exit status. Logs and checkpoints go to
hydra.run.dir=FOLDER (default outputs/CONFIG). With the same folder, the same command resumes from checkpoint_last.pt.
Where there is no GPU, it trains on the CPU, in float32.
Training needs fairseq: pip install "spin_fairseq[train]".
"""

from __future__ import annotations

from argparse import Namespace

from spin_fairseq.threads import settle

from .parser import Parser

EXAMPLES = (
    "spin-fairseq train spin_hubert_base task.data=data/librispeech model.checkpoint=hubert_base_ls960.pt --dry-run",
    "spin-fairseq train spin_demo task.data=data/mine task.phones=data/mine/phones model.checkpoint=hubert_base_ls960.pt \\\n"
    "    optimization.max_update=2 hydra.run.dir=outputs/try",
    "spin-fairseq train spin_hubert_base --small task.data=data/mine model.checkpoint=hubert_base_ls960.pt --dry-run",
)
KEPT = "the checkpoints that fairseq saved are kept, and the last one is where it resumes"
INSTEAD = {
    "--out": "training writes to hydra.run.dir=FOLDER, and its checkpoints to checkpoint.save_dir within that folder",
    "--overwrite": "a run resumes where it stopped; for a new one choose another hydra.run.dir=FOLDER",
    "--data": "the folder with the manifests is task.data=FOLDER",
    "--phones": "phone labels are task.phones=FOLDER",
    "--seed": "the seed is common.seed=N",
    "--workers": "data workers are dataset.num_workers=N",
    "--device": "training takes the GPU where there is one; common.cpu=true trains on the CPU",
}


def add_arguments(parser: Parser) -> None:
    parser.instead.update(INSTEAD)
    parser.add_argument("config", metavar="CONFIG", help="name of a configuration, or a YAML file")
    parser.add_argument("overrides", nargs="*", metavar="KEY=VALUE", help="changes to the configuration")
    parser.add_argument("--config-dir", metavar="FOLDER", help="where CONFIG is (default: this package's)")
    parser.add_argument(
        "--small", action="store_true", help="settings for minutes or a few hours of speech; keys that you give win"
    )
    parser.add_argument(
        "--dry-run", action="store_true", help="print the fairseq-hydra-train command, but do not run it"
    )


def run(args: Namespace) -> int | None:
    from importlib.util import find_spec
    from pathlib import Path

    from spin_fairseq.errors import ConfigError
    from spin_fairseq.training_command import (
        check_checkpoint,
        cpu_overrides,
        shell_line,
        small_overrides,
        training_command,
    )

    config, folder = args.config, args.config_dir
    if folder is None and Path(config).suffix in (".yaml", ".yml"):
        config, folder = Path(config).name, Path(config).parent
    overrides = [*(small_overrides(args.overrides) if args.small else []), *args.overrides]
    command = training_command(config, overrides, config_dir=folder)
    if args.dry_run:
        print(shell_line(command), flush=True)
        return 0
    if find_spec("fairseq") is None:
        raise ConfigError('training needs fairseq, which is not installed: pip install "spin_fairseq[train]"')
    check_checkpoint(overrides)
    args.say(settle())
    more = [] if _has_gpu() else cpu_overrides(overrides)
    if more:
        args.say(f"no GPU here: {' '.join(more)}")
        command = training_command(config, [*more, *overrides], config_dir=folder)
    print(shell_line(command), flush=True)
    return _wait_for(command)


def _has_gpu():
    import torch

    return torch.cuda.is_available()


def _wait_for(command):
    """Run the command, passing signals on -> its exit status. After Ctrl-C raises KeyboardInterrupt once it has ended."""
    import signal
    import subprocess

    child, interrupted = subprocess.Popen(command), False
    for name in ("SIGTERM", "SIGHUP", "SIGUSR1", "SIGUSR2"):
        signal.signal(getattr(signal, name), lambda number, _: child.send_signal(number))
    while True:
        try:
            status = child.wait()
            break
        except KeyboardInterrupt:  # the terminal sends it to the child as well
            interrupted = True
    if interrupted:
        raise KeyboardInterrupt
    return status if status >= 0 else 128 - status
