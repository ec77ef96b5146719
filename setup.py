"""Packaging. `make setup` installs this with the tested versions; see constraints/.

A bare `pip install` of this package also works where torch, numpy, cython and wheel are installed first,
with --no-build-isolation: fairseq compiles against them (scripts/setup_environment.sh has the exact steps).
"""

import re
from pathlib import Path

from setuptools import find_packages, setup

HERE = Path(__file__).resolve().parent
# Read as text: importing the package would need everything that is yet to be installed.
VERSION = re.search(r'^__version__ = "(.+)"$', (HERE / "spin_fairseq" / "__init__.py").read_text("utf-8"), re.M).group(1)

setup(
    name="spin_fairseq",
    version=VERSION,
    description="Spin (speaker-invariant clustering of speech) as a fairseq plugin",
    license="MIT",
    python_requires=">=3.9,<3.13",
    packages=find_packages(include=["spin_fairseq", "spin_fairseq.*"]),
    package_data={"spin_fairseq.report": ["templates/*"]},
    install_requires=[
        # The official release does not import from Python 3.11 on (mutable dataclass defaults); the fork does.
        'fairseq==0.12.2; python_version < "3.11"',
        'fairseq-fixed==0.12.3.1; python_version >= "3.11"',
        "torch",  # the model and the training step
        'numpy<2; python_version < "3.11"',  # fairseq 0.12.2 and the torch of its time use what numpy 2 dropped
        'numpy; python_version >= "3.11"',
        "scipy",  # filter design and lengths that an FFT likes
        "numba",  # compiles the inner loops of the perturbation for the CPU
        "soundfile",  # decodes and writes audio; brings its own libsndfile
        "sox",  # converts what soundfile cannot read, and is a perturbation backend; needs the sox program
        "tensorboardX",  # fairseq's common.tensorboard_logdir writes through it
        "safetensors",  # reads and writes the files of transformers
        "scikit-learn",  # PNMI, k-means, the linear speaker classifier
        "threadpoolctl",  # small matrices on one thread
        "tqdm",  # progress bars
    ],
    extras_require={
        "praat": ["praat-parselmouth"],  # task.perturbation=praat: the reference's perturbation
        "demo": ["librosa"],  # MFCCs, of which the demo's base model was made
        "evaluation": [  # evaluate.py
            'zerospeech-libriabx2; python_version < "3.12"',  # ABX, by the field's own programs
            'fastabx; python_version >= "3.12"',
            "rapidfuzz",  # edit distances
            "librosa",  # MFCCs, and speech at another tempo
        ],
        "report": ["jinja2", "plotly", "tensorboard", "matplotlib"],  # report.py: page, charts, reading runs, spectrograms
        "plots": ["matplotlib"],  # other figures
        "wandb": ["wandb"],  # fairseq's common.wandb_project
        "onnx": ["onnx", "onnxruntime"],  # convert_checkpoint.py --to onnx
        "fairseq-scripts": ["npy-append-array"],  # fairseq's own feature-dumping scripts write with it
        "test": ["pytest", "hypothesis", "transformers>=4.56,<5"],  # transformers: an independent HuBERT and WavLM
    },
)
