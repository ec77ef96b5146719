#!/usr/bin/env python3
"""The demo over several seeds: what training changes, and whether by more than chance.

    python examples/demo/run_seeds.py --seeds 1 2 3
    python examples/demo/run_seeds.py --seeds 1 2 3 --overrides model.codebook_init=random --page outputs/random_start.md

Runs run_demo.py for each seed (training, k-means and draws; those whose results.json is there are not run again) and writes
mean and standard error of each metric, and of the differences within a seed, to --page.
"""

import argparse
import json
import shlex
from pathlib import Path

from four_models import MODELS, METRICS, meaning, table
from means import mean_and_error
from places import BASE, HERE, REPOSITORY
from run_demo import main as run_demo

from spin_fairseq.fingerprints import digest_of

# What was measured apart, or is known of the speech.
BESIDE_THE_TABLE = (
    "The MFCCs are plain. [Normalised by utterance](base/README.md), at 50 or 100 Hz, their k-means units have PNMI .477 or .487 on these voices, "
    "and speaker NMI .118 or .113. Phone ABX across speakers is flattered: three speakers of dev speak each sentence, so that many "
    "triples come from one sentence; on LibriSpeech the base has [.29](../real_speech/RESULTS.md)."
)


def layers_of_base(results):
    """ "layer 2, ..." or "layers 4, 5 and 3 for seeds 1, 2 and 3, ..." """

    def listed(numbers):
        return f"{', '.join(map(str, numbers[:-1]))} and {numbers[-1]}"

    layers = [result["base"]["layer"] for result in results]
    if len(set(layers)) == 1:
        return f"layer {layers[0]}, the best on dev, which favours the base"
    seeds = listed([result["seed"] for result in results])
    return f"layers {listed(layers)} for seeds {seeds}, each the best on dev, which favours the base"


def page(results, base, command):
    """The page with the table and the command that makes it. results: of run_demo, one a seed."""
    first = results[0]
    means = {name: {key: mean_and_error([r[name][key] for r in results])[0] for key in METRICS} for name in MODELS}
    lines = [
        "# What training changes",
        "",
        f"    {command}",
        "",
        f"Mean ± standard error over {len(results)} seeds (training, draws and k-means) on the dev split of `examples/demo/natural`: "
        f"{first['speakers']} speakers that training never heard. Base: `{base.name}`; its units are of {layers_of_base(results)}. "
        f"K = {first['clusters']} for all. The start is Spin before its first update.",
        "",
        *table(results),
        "",
        meaning(means),
        "",
        f"Of speaker NMI, {first['spin']['speaker_nmi_chance']:.3f} (Spin) to {first['base']['speaker_nmi_chance']:.3f} (base) are chance: what "
        "units would say of the speakers if utterances were dealt to them at random (seed "
        f"{first['seed']}). Speaker accuracy: of a linear classifier on single frames, fitted on half of the utterances of dev; at equal "
        f"width it sees {first['spin']['width']} principal components of wider features. [What each metric is](../../docs/metrics.md).",
        *(["", BESIDE_THE_TABLE] if base.resolve() == BASE else []),
    ]
    return "\n".join(lines) + "\n"


def results_of(seeds, out, base, overrides):
    """Results of run_demo for each seed, in folders of their own for other keys; run where they are not there yet."""
    results = []
    for seed in seeds:
        # Named by a digest: the keys themselves may be longer than a file system allows.
        other = [digest_of([str(base), *overrides])] if overrides or base != BASE else []
        folder = out / "_".join([f"demo_seed_{seed}", *other])
        file = folder / "results.json"
        if not file.exists() or not METRICS.keys() <= json.loads(file.read_text()).get("spin", {}).keys():
            run_demo(["--out", str(folder), "--seed", str(seed), "--base", str(base), *overrides])
        results.append(json.loads(file.read_text()))
    return results


def main(argv=None):
    parser = argparse.ArgumentParser(
        usage="python examples/demo/run_seeds.py --seeds 1 2 3 [--overrides KEY=VALUE ...]",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2, 3])
    parser.add_argument("--base", type=Path, default=BASE, help="the base model")
    parser.add_argument(
        "--out", type=Path, default=REPOSITORY / "outputs", help="folder for the runs (default outputs)"
    )
    parser.add_argument(
        "--page",
        type=Path,
        help="default RESULTS.md beside this script; with another --base or --overrides, results.md in --out",
    )
    parser.add_argument(
        "--overrides", nargs="*", default=[], metavar="KEY=VALUE", help="more keys of the configuration"
    )
    args = parser.parse_args(argv)
    results = results_of(args.seeds, args.out, args.base.resolve(), args.overrides)
    others = ["--base", str(args.base)] if args.base.resolve() != BASE else []
    others += ["--overrides", *args.overrides] if args.overrides else []
    args.page = args.page or (args.out / "results.md" if others else HERE / "RESULTS.md")
    command = "python examples/demo/run_seeds.py --seeds " + shlex.join([*map(str, args.seeds), *others])
    args.page.write_text(page(results, args.base, command))
    print(args.page.read_text())


if __name__ == "__main__":
    main()
