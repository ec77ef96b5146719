"""Where the demo's speech and base model are."""

from pathlib import Path

HERE = Path(__file__).resolve().parent
REPOSITORY = HERE.parents[1]
SPEECH = HERE / "natural"  # {train,dev}/SPEAKER/CHAPTER/*, phones/{train,dev}.tsv
BASE = HERE / "base" / "hubert_real.pt"  # config/spin_demo.yaml names it too
