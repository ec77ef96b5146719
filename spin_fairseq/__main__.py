"""`python -m spin_fairseq VERB`: the same as `spin-fairseq VERB`."""

import sys

from spin_fairseq.commands.line import main

if __name__ == "__main__":
    sys.exit(main())
