"""What the benchmarks of scripts/ measure with. Nothing here is needed to train or to use a model."""
