"""The command line in this process."""

from spin_fairseq.commands.line import main


def spin_fairseq(*words):
    """`spin-fairseq WORDS` -> its exit status."""
    try:
        return main(list(map(str, words)))
    except SystemExit as leaving:  # after --help
        return leaving.code
