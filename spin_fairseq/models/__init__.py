"""Models registered with fairseq: `spin` and `wavlm`."""
