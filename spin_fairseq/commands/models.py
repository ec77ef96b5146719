"""Load the model that a command line names."""

from __future__ import annotations

from argparse import Namespace
from collections.abc import Callable

from spin_fairseq.threads import settle

from .parser import usable_device


def loader(args: Namespace, checkpoint: str, any_model: bool = False, tell: bool = True) -> Callable:
    """A function that loads the model, on args.device. any_model: a Spin, or an encoder. tell: say how many threads compute.

    args.encoder: keys of its configuration; args.dtype: if the verb has that option.
    """

    def load():
        threads = settle()
        if tell:
            args.say(threads)
        device = usable_device(args.device)
        from spin_fairseq.checkpoints import load_model, load_spin
        from spin_fairseq.checkpoints.given import encoder_keys

        load_any = load_model if any_model else load_spin
        return load_any(checkpoint, getattr(args, "dtype", "float32"), **encoder_keys(args.encoder)).to(device)

    return load
