"""The verbs of `spin-fairseq VERB`, which is `python -m spin_fairseq VERB`: one module each, of the verb's name.

A verb's module has EXAMPLES (command lines that work as they stand), `add_arguments(parser)`, `run(args)`, which returns
the exit status or None for 0, and KEPT, which says what Ctrl-C leaves behind. AGAIN says whether the command that resumes
needs --overwrite or must not have it. The docstring is the help text. Modules that compute are imported inside `run`, so that
`--help` is quick. `sharding` says what else a verb has if several machines can share its work.
"""

# In the order of a project's life.
VERBS = {
    "prepare": "make manifests of LibriSpeech, or of any folder of audio",
    "pitch": "estimate the pitch range of every speaker",
    "marks": "measure the pitch marks once, so that training need not",
    "pack": "pack many audio files into a few archives",
    "train": "train Spin with fairseq, by one of the configurations that come with the package",
    "inspect": "say what a checkpoint is: format, encoder, layer, codebooks, what it can become",
    "units": "write the units of a checkpoint, or its features, for every utterance",
    "pieces": "learn R-Spin's acoustic pieces from units, and write them for every utterance",
    "evaluate": "compare models: phones, speakers, robustness, with intervals and paired tests",
    "merge": "join what several machines have made with --shard",
    "report": "write one HTML page of trainings and evaluations",
    "convert": "write a checkpoint in the format of another tool",
}
