"""What a model makes of files: in batches, in chunks, fast on a CPU, and as files. Knows nothing of fairseq."""
