#!/usr/bin/env python3
"""Do to training runs what machines do to them, and see whether anything is lost.

    python scripts/stress_training.py --kills 20
    python scripts/stress_training.py --faults disk non-finite --out outputs/stress

Small trainings run by fairseq-hydra-train on copies of some utterances. A run that is started again by the same command
has to end with the weights of one that nobody disturbed, bit for bit:

    kill         SIGKILL at random moments: in start-up, in training, while a checkpoint is written. After each, every
                 checkpoint is readable, and no more than the work since the last save is repeated.
    worker       the data workers are killed: the run stops with a clear error, and does not hang.
    files        between epochs, files vanish, are cut off, or are replaced by longer, shorter and other ones: each is
                 skipped and named, and the run goes on.
    slow         every file takes its time to open, as in a network folder.
    disk         no more can be written in the middle of a save: a full disk where a small one may be mounted, and a
                 limit on the size of files. A clear error, and the checkpoints of before are whole.
    non-finite   an utterance makes gradients infinite: the run stops and names the utterances of the batch.

A table of what happened goes to the screen and to OUT/stress.md; OUT keeps folders and logs. Linux only.
"""

import argparse
import sys
import warnings
from pathlib import Path

warnings.filterwarnings("ignore")  # the libraries' own, about each other

import spin_fairseq  # noqa: E402, F401
from spin_fairseq.preparation.manifests import find_audio  # noqa: E402
from spin_fairseq.errors import SpinError  # noqa: E402
from stress.faults import DEV_UTTERANCES, FAULTS, copy_audio  # noqa: E402
from stress.runs import Failure, reference_run  # noqa: E402

REPOSITORY = Path(__file__).resolve().parents[1]
DEMO = REPOSITORY / "examples" / "demo"


def table(rows):
    lines = ["| fault | what happened | |", "|---|---|---|"]
    return "\n".join(
        lines + [f"| {name} | {what} | {'passed' if passed else 'FAILED'} |" for name, what, passed in rows]
    )


def main(argv=None):
    parser = argparse.ArgumentParser(
        usage="python scripts/stress_training.py [--kills 20] [--faults kill worker files slow disk non-finite]",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--faults", nargs="+", choices=list(FAULTS), default=list(FAULTS), help="default: all")
    parser.add_argument("--kills", type=int, default=20, help="SIGKILLs in all (default 20)")
    parser.add_argument("--updates", type=int, default=18, help="of each run (default 18)")
    parser.add_argument("--audio", type=Path, default=DEMO / "data" / "train", help="folder to take utterances from")
    parser.add_argument("--count", type=int, default=24, help="training utterances that are taken (default 24)")
    parser.add_argument("--base", type=Path, default=DEMO / "hubert_demo.pt", help="pretrained encoder")
    parser.add_argument("--out", type=Path, default=REPOSITORY / "outputs" / "stress")
    parser.add_argument("--patience", type=float, default=600, help="seconds after which a run hangs (default 600)")
    parser.add_argument("--seed", type=int, default=1, help="of the moments")
    options = parser.parse_args(argv)
    options.out, options.base = options.out.resolve(), options.base.resolve()
    try:
        found = [options.audio / path for path in find_audio(options.audio)]
    except (SpinError, OSError) as error:
        sys.exit(f"error: {error}")
    if len(found) < options.count + DEV_UTTERANCES or options.count < 6:
        sys.exit(
            f"error: {options.audio}: has {len(found)} files; --count needs 6 or more, and {DEV_UTTERANCES} to spare"
        )
    step = len(found) / (options.count + DEV_UTTERANCES)
    options.utterances = [found[int(number * step)] for number in range(options.count + DEV_UTTERANCES)]
    options.out.mkdir(parents=True, exist_ok=True)
    copy_audio(options, options.out / "data")

    rows = []
    try:
        reference = reference_run(options)
    except Failure as error:
        sys.exit(f"error: {error}")
    for name in options.faults:
        try:
            rows.append((name, FAULTS[name](options, reference), True))
        except Failure as error:
            rows.append((name, str(error), False))
        print(f"{name}: {rows[-1][1]}", file=sys.stderr, flush=True)
    result = table(rows)
    (options.out / "stress.md").write_text(result + "\n")
    print(result)
    return 0 if all(passed for _, _, passed in rows) else 1


if __name__ == "__main__":
    sys.exit(main())
