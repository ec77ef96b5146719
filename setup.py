"""Packaging. `make setup` installs this with the tested versions; see constraints/.

Without extras everything works but training, ABX and ONNX, and nothing is compiled. The extra `train` brings fairseq: a
ready wheel on Python 3.11 and 3.12 (x86-64 Linux); elsewhere it is compiled, for which torch, numpy, cython and wheel must be
installed first, and --no-build-isolation given (scripts/setup_environment.sh has the exact steps).
"""

import re
from pathlib import Path

from setuptools import find_packages, setup

HERE = Path(__file__).resolve().parent
# Read as text: importing the package would need everything that is yet to be installed.
INIT = (HERE / "spin_fairseq" / "__init__.py").read_text("utf-8")
VERSION = re.search(r'^__version__ = "(.+)"$', INIT, re.M).group(1)

# Which fairseq, and why: docs/install.md. The official release does not import from Python 3.11 on (mutable dataclass
# defaults); fairseq-fixed, its repository's later state with that mended, does; ve-fairseq is the same, ready built.
HAS_WHEELS = 'platform_machine == "x86_64" and sys_platform == "linux"'
NO_WHEELS = '(platform_machine != "x86_64" or sys_platform != "linux")'
WHEEL = f'python_version >= "3.11" and python_version < "3.13" and {HAS_WHEELS}'
NO_WHEEL = f'python_version >= "3.13" or (python_version >= "3.11" and {NO_WHEELS})'
OFFICIAL = 'fairseq==0.12.2; python_version < "3.11"'
TENSORBOARD_X = "tensorboardX"  # fairseq's common.tensorboard_logdir writes through it

setup(
    name="spin_fairseq",
    version=VERSION,
    description="Spin (speaker-invariant clustering of speech): training in fairseq; units, voices and evaluation without it",
    long_description=(HERE / "README.md").read_text("utf-8"),
    long_description_content_type="text/markdown",
    license="MIT",
    license_files=["LICENSE"],
    python_requires=">=3.10,<3.14",  # 3.14: hydra, which fairseq-hydra-train is built on, does not start there
    # The configurations lie beside the package, where fairseq's users look for them, and are installed into it.
    packages=[*find_packages(include=["spin_fairseq", "spin_fairseq.*"]), "spin_fairseq.config"],
    package_dir={"spin_fairseq.config": "config"},
    entry_points={"console_scripts": ["spin-fairseq=spin_fairseq.commands.line:main"]},
    package_data={
        "spin_fairseq": ["py.typed"],
        "spin_fairseq.config": ["*.yaml"],
        "spin_fairseq.preparation": ["vocal_tract_reference.tsv"],
        "spin_fairseq.report": ["templates/*"],
    },
    install_requires=[
        "torch",  # the model and the training step
        'numpy<2; python_version < "3.11"',  # fairseq 0.12.2 and the torch of its time use what numpy 2 dropped
        'numpy; python_version >= "3.11"',
        "scipy",  # filter design and lengths that an FFT likes
        "numba",  # compiles the inner loops of the perturbation for the CPU
        "soundfile",  # decodes and writes audio; brings its own libsndfile
        "soxr",  # resamples audio that arrives through a pipe
        "sox",  # converts what soundfile cannot read, and is a perturbation backend; needs the sox program
        "safetensors",  # reads and writes the files of transformers
        "scikit-learn",  # PNMI, k-means, the linear speaker classifier
        "threadpoolctl",  # small matrices on one thread
        "tqdm",  # progress bars
        "librosa",  # evaluation: MFCCs, and speech at another tempo
        "rapidfuzz",  # evaluation: edit distances
        "jinja2",  # report: the page
        "plotly",  # report: its charts
        "matplotlib",  # report: spectrograms
        "tensorboard",  # report: the curves of a training
    ],
    extras_require={
        "train": [OFFICIAL, f"ve-fairseq==0.12.3; {WHEEL}", f"fairseq-fixed==0.12.3.1; {NO_WHEEL}", TENSORBOARD_X],
        "train-from-source": [OFFICIAL, 'fairseq-fixed==0.12.3.1; python_version >= "3.11"', TENSORBOARD_X],
        "praat": ["praat-parselmouth"],  # task.perturbation=praat: the reference's perturbation
        "evaluation": [  # ABX, by the field's own programs; the first is compiled
            'zerospeech-libriabx2; python_version < "3.12"',
            'fastabx; python_version >= "3.12"',
        ],
        "pieces": ["tokenizers"],  # spin-fairseq pieces: byte-pair encoding
        "wandb": ["wandb"],  # fairseq's common.wandb_project
        "slurm": ["submitit"],  # --launcher submitit: shards as jobs
        "onnx": ["onnx", "onnxruntime"],  # spin-fairseq convert --to onnx
        "fairseq-scripts": ["npy-append-array"],  # fairseq's own feature-dumping scripts write with it
        "test": [
            "pytest",
            "pytest-xdist",  # in a process for each core
            "hypothesis",
            "transformers>=4.56,<5",  # an independent HuBERT and WavLM
            TENSORBOARD_X,  # curves for the report, written as fairseq writes them
            "tokenizers",  # acoustic pieces
            "import-linter",  # tests/test_structure.py: who imports whom
            "submitit",  # --launcher submitit, whose jobs are processes where there is no Slurm
        ],
        "lint": ["ruff", "import-linter"],  # `make lint`
    },
)
