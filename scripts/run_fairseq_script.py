#!/usr/bin/env python3
"""Run one of fairseq's example scripts, unmodified, on a Spin checkpoint.

    python scripts/run_fairseq_script.py hubert/simple_kmeans/dump_hubert_feature.py DATA dev checkpoint_last.pt 12 1 0 FEATURES
    python scripts/run_fairseq_script.py hubert/simple_kmeans/learn_kmeans.py FEATURES dev 1 km.bin 100 --percent -1
    python scripts/run_fairseq_script.py hubert/simple_kmeans/dump_km_label.py FEATURES dev km.bin 1 0 LABELS

The script is a path, or a path below fairseq's `examples`. What the launcher does before:
- it imports this package, so that fairseq knows the models, and torch reads its checkpoints;
- without a GPU, `.cuda()` leaves tensors and models on the CPU;
- where torchaudio does not work, modules of its name stand in, which complain when they are used;
- `examples`, which some scripts import from, is the folder that the script is in.

With --embeddings, features of a Spin model are what its head makes of the layer: the export `spin-fairseq convert --to
kmeans` then gives Spin's units, in dump_km_label.py and in GSLM's quantize_with_kmeans.py:

    python scripts/run_fairseq_script.py --embeddings textless_nlp/gslm/speech2unit/clustering/quantize_with_kmeans.py \\
        --feature_type hubert --acoustic_model_path checkpoint_last.pt --layer 12 --kmeans_model_path km.bin \\
        --manifest_path DATA/dev.tsv --out_quantized_file_path units/dev.txt
"""

import argparse
import importlib
import importlib.machinery
import runpy
import sys
import types
from pathlib import Path

import spin_fairseq  # noqa: F401  registers the models

import fairseq
import torch
from fairseq.models import ARCH_MODEL_REGISTRY, MODEL_REGISTRY

from spin_fairseq.models.spin import SpinModel

# What the scripts import, and use for other features than a model's, or for audio at another rate.
TORCHAUDIO = ["torchaudio", "torchaudio.sox_effects", "torchaudio.compliance", "torchaudio.compliance.kaldi"]


def find_script(name):
    """-> absolute path; of the file, or of that name below fairseq's examples. Stops where there is none."""
    examples = Path(fairseq.__file__).parent / "examples"
    for path in (Path(name), examples / name):
        if path.is_file():
            return path.resolve()
    sys.exit(f"error: {name}: no such script, here or in {examples}; check its name")


def stay_on_cpu():
    """`.cuda()` of tensors and models returns them as they are."""
    torch.Tensor.cuda = torch.nn.Module.cuda = lambda self, *_, **__: self


def stand_in_for_torchaudio():
    """Modules that can be imported; whatever is asked of them raises the reason why the real one is not there."""
    for name in TORCHAUDIO:
        try:
            importlib.import_module(name)
        except (ImportError, OSError) as error:
            module = types.ModuleType(name)
            module.__spec__ = importlib.machinery.ModuleSpec(name, None, is_package=True)
            module.__path__ = []
            module.__getattr__ = _complain(name, error)
            sys.modules[name] = module
            parent, _, child = name.rpartition(".")
            if parent:
                setattr(sys.modules[parent], child, module)


def _complain(module, why):
    def getattr_of_module(name):
        if name.startswith("__"):
            raise AttributeError(name)
        raise ImportError(f"{module}.{name} is needed, and torchaudio does not work here: {why}")

    return getattr_of_module


def let_examples_be_imported(script):
    """`import examples.x` finds the folder of that name that the script is in."""
    folders = [folder for folder in script.parents if folder.name == "examples"]
    if folders:
        examples = types.ModuleType("examples")
        examples.__path__ = [str(folders[-1])]
        sys.modules["examples"] = examples


class EmbeddingModel(SpinModel):
    """A SpinModel whose features are its embeddings; a checkpoint's model becomes one where it is loaded."""

    def extract_features(self, source, padding_mask=None, **_):
        """-> (B, frames, D), None."""
        return self.head.embed(super().extract_features(source, padding_mask)[0]), None


def give_embeddings():
    """fairseq builds an EmbeddingModel for the name "spin"."""
    MODEL_REGISTRY["spin"] = ARCH_MODEL_REGISTRY["spin"] = EmbeddingModel


def main(argv=None):
    parser = argparse.ArgumentParser(
        usage="python scripts/run_fairseq_script.py [--embeddings] SCRIPT [ARGUMENTS OF THE SCRIPT]",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--embeddings", action="store_true", help="features of a Spin model are its embeddings")
    parser.add_argument("script", help="of fairseq: a path, or a path below its examples")
    parser.add_argument("arguments", nargs=argparse.REMAINDER, help="for the script")
    args = parser.parse_args(argv)
    script = find_script(args.script)
    if not torch.cuda.is_available():
        stay_on_cpu()
    stand_in_for_torchaudio()
    let_examples_be_imported(script)
    if args.embeddings:
        give_embeddings()
    sys.argv = [str(script), *args.arguments]
    sys.path[0] = str(script.parent)
    try:
        runpy.run_path(str(script), run_name="__main__")
    except ModuleNotFoundError as error:
        if error.name != "npy_append_array":
            raise
        sys.exit("error: fairseq's dump scripts need a package: pip install npy-append-array")


if __name__ == "__main__":
    main()
