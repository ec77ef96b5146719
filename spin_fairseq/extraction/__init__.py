"""Running a model over audio files: in batches, in chunks, fast on a CPU, with the results in files. Knows nothing of fairseq."""
