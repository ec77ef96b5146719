"""Change a whole batch on the model's device: its voices, noise and rooms. Data workers only prepare the random draws."""

from typing import Any
from collections.abc import Sequence

import torch

from ..perturbation.acoustics import Acoustics, change_acoustics_of_batch, stack
from ..perturbation.backends import perturb_batch
from ..perturbation.draws import SpeakerDraw, stack_draws
from ..perturbation.pitch_marks import PitchMarks, pad_marks


def pending_views(
    draws: Sequence[tuple[SpeakerDraw, ...]], marks: Sequence[PitchMarks], lengths: Sequence[int],
    acoustics: Sequence[tuple[Acoustics, Acoustics]] | None = None, samples: int = 0,
) -> dict[str, Any]:  # fmt: skip
    """All that `complete_views` needs to make the changed views, in containers that fairseq can move to the device.

    draws: for each utterance a tuple of SpeakerDraws, one for each changed view; marks: PitchMarks of each utterance;
    lengths: samples of each. acoustics: for each utterance the Acoustics of both views, or None; samples: of a row.
    """
    views = [tuple(stack_draws(view)) for view in zip(*draws)]
    pending = {"marks": tuple(pad_marks(marks)), "draws": views, "lengths": torch.tensor(lengths)}
    if acoustics is not None:
        pending["acoustics"] = [stack(view, samples) for view in zip(*acoustics)]
    return pending


def complete_views(sample: dict[str, Any], sample_rate: int) -> dict[str, Any]:
    """Make the "pending" views of a batch. The result is the batch that data workers would have made.

    sample["net_input"]["source"]: (B, T), the waves as recorded; in the result (2B, T), both views. A batch without
    "pending" is returned as it is. Nothing here waits for the device.
    """
    if "pending" not in sample:
        return sample
    net_input, pending = sample["net_input"], sample["pending"]
    source, lengths = net_input["source"], pending["lengths"]
    marks = PitchMarks(*pending["marks"])
    changed = [
        perturb_batch(source, lengths, sample_rate, marks, SpeakerDraw(*draws)).to(source.dtype)
        for draws in pending["draws"]
    ]
    views = changed if len(changed) == 2 else [source, *changed]
    if "acoustics" in pending:
        views = [
            change_acoustics_of_batch(view.float(), lengths, *own).to(source.dtype)
            for view, own in zip(views, pending["acoustics"])
        ]
    return {**sample, "net_input": {**net_input, "source": torch.cat(views)}}
