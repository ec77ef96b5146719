"""Criterion "swapped_prediction": the loss of Spin, and the statistics that are logged."""

import math
from dataclasses import dataclass
from typing import Any
from collections.abc import Sequence

import torch
from fairseq.criterions import FairseqCriterion, register_criterion
from fairseq.dataclass import FairseqDataclass
from fairseq.distributed.utils import get_data_parallel_group
from fairseq.logging import metrics

from ..options import option
from ..encoders.trainable_layers import parse_list
from ..errors import ConfigError
from ..modules.pieces_loss import pieces_loss
from ..modules.swapped_prediction import swapped_prediction_loss

__all__ = ["SwappedPredictionCriterion", "swapped_prediction_loss"]


@dataclass
class SwappedPredictionConfig(FairseqDataclass):
    epsilon: float = option(0.02, "entropy weight of Sinkhorn; a smaller one makes harder targets")
    sinkhorn_iterations: int = option(3, "number of Sinkhorn iterations")
    temperature: float = option(0.1, "the cosines are divided by it before the softmax")
    target_mix: float = option(
        1.0, "weight of a view's own scores in its targets; the rest is the weight of the other view's"
    )
    hard_targets: bool = option(False, "use only the best prototype of each target")
    # `Any`, as the lists of the model's configuration
    codebook_weights: Any = option(
        "", "weight of each codebook's loss in the sum, in the codebooks' order; none: 1 each"
    )
    pieces_weight: float = option(5.0, "weight of R-Spin's auxiliary loss, where task.pieces is set")


def _check(name, value, good, must):
    if not good:
        raise ConfigError(f"criterion.{name} is {value}: it must be {must}")


def _parse_weights(value):
    """ "1,0.5", [1, 0.5] or nothing -> a list of floats, empty for nothing. Raises ConfigError."""
    try:
        weights = [float(item) for item in parse_list(value)]
    except ValueError:
        weights = [math.nan]
    good = all(0 <= weight < math.inf for weight in weights) and (not weights or any(weights))
    _check("codebook_weights", value, good, "numbers of at least 0, one above 0 among them")
    return weights


@register_criterion("swapped_prediction", dataclass=SwappedPredictionConfig)
class SwappedPredictionCriterion(FairseqCriterion):
    """The Spin loss, summed over codebooks, each with its weight (DC-Spin, arXiv 2410.24177, has two codebooks).

    With acoustic pieces (R-Spin, arXiv 2311.09117) their cross-entropy is added, a mean over both views.

    The loss handed to fairseq is a sum over frames, `sample_size` the number of frames: fairseq divides by the frames
    of all ranks, so that each frame weighs the same whatever rank it is on. Statistics are weighted by frames as well.
    """

    def __init__(
        self, task: Any, epsilon: float, sinkhorn_iterations: int, temperature: float, target_mix: float,
        hard_targets: bool, codebook_weights: Any = "", pieces_weight: float = 5.0,
    ):  # fmt: skip
        super().__init__(task)
        _check("epsilon", epsilon, 0 < epsilon < math.inf, "above 0")
        _check("temperature", temperature, 0 < temperature < math.inf, "above 0")
        _check("sinkhorn_iterations", sinkhorn_iterations, sinkhorn_iterations >= 1, "at least 1")
        _check("target_mix", target_mix, 0 <= target_mix <= 1, "between 0 and 1")
        _check("pieces_weight", pieces_weight, 0 <= pieces_weight < math.inf, "at least 0")
        self.codebook_weights, self.pieces_weight = _parse_weights(codebook_weights), pieces_weight
        self.options = {
            "epsilon": epsilon,
            "iterations": sinkhorn_iterations,
            "temperature": temperature,
            "target_mix": target_mix,
            "hard_targets": hard_targets,
        }

    def forward(
        self, model: Any, sample: dict[str, Any], reduce: bool = True
    ) -> tuple[torch.Tensor, int, dict[str, Any]]:
        """-> loss (sum over frames), frames (int, known without asking the device), logging output."""
        net_output = model(**sample["net_input"])
        frames_of_each = [model.encoder.output_lengths(samples) for samples in sample["lengths"]]
        frames, valid = sum(frames_of_each), net_output["valid"]
        if sample.get("ignored"):  # a rank that has no batch left: its filler has no influence on the targets
            frames, valid = 0, torch.zeros_like(valid)
        half = len(valid) // 2  # the second half of the batch holds the second views
        loss, weights = 0.0, self._weights(net_output["scores"])
        logging_output = {
            "ntokens": frames,
            "nsentences": len(sample["id"]),
            "sample_size": frames,
        }
        for codebook, scores in enumerate(net_output["scores"]):
            view_1, view_2 = scores[:half].flatten(0, 1), scores[half:].flatten(0, 1)
            result = swapped_prediction_loss(
                view_1, view_2, valid=valid[:half].flatten(), group=get_data_parallel_group(), **self.options
            )
            suffix = f"_{codebook}" if codebook else ""
            of_codebook = result.loss * frames
            loss = loss + of_codebook * weights[codebook]
            if len(weights) > 1:
                logging_output["codebook_loss" + suffix] = of_codebook.detach()
            logging_output["accuracy" + suffix] = result.accuracy * frames
            logging_output["code_ppl" + suffix] = result.code_perplexity * frames
            logging_output["prob_ppl" + suffix] = result.probability_perplexity * frames
        if "pieces" in net_output and "pieces" in sample:
            of_pieces, right, counted = pieces_loss(net_output["pieces"], sample["pieces"], valid)
            loss = loss + of_pieces * self.pieces_weight
            logging_output.update(pieces_loss=of_pieces.detach(), pieces_right=right, pieces_frames=counted)
        logging_output["loss"] = loss.detach()
        if not self.training:
            first_views = net_output["scores"][0][:half]
            logging_output.update(
                self.task.count_units(sample, first_views, frames_of_each, model.encoder.frame_seconds)
            )
        return loss, frames, logging_output

    def _weights(self, scores):
        """One of each codebook. scores: a list, an entry a codebook. Raises ConfigError."""
        weights = self.codebook_weights or [1.0] * len(scores)
        if len(weights) != len(scores):
            raise ConfigError(
                f"criterion.codebook_weights has {len(weights)} numbers, model.codebook_sizes has {len(scores)}: "
                "give one weight for each codebook"
            )
        return weights

    @staticmethod
    def reduce_metrics(logging_outputs: Sequence[dict[str, Any]]) -> None:
        """Means over the frames of all ranks; tensors stay tensors until they are printed."""
        frames = sum(log.get("sample_size", 0) for log in logging_outputs)
        if not frames:
            return
        loss = sum(log["loss"] for log in logging_outputs if "loss" in log)
        metrics.log_scalar("loss", loss / frames, frames, round=4)
        for key in sorted({key for log in logging_outputs for key in log}):
            if key.startswith(("accuracy", "code_ppl", "prob_ppl", "codebook_loss")):
                total = sum(log[key] for log in logging_outputs if key in log)
                metrics.log_scalar(key, total / frames, frames, round=4)
        if any("pieces_loss" in log for log in logging_outputs):
            of_pieces, right, counted = (
                sum(log[f"pieces_{name}"] for log in logging_outputs if "pieces_loss" in log)
                for name in ("loss", "right", "frames")
            )
            for key, value in (("pieces_loss", of_pieces), ("pieces_accuracy", right)):
                metrics.log_scalar(key, value / counted.clamp(min=1), frames, round=4)

    def logging_outputs_can_be_summed(self) -> bool:
        """True in training: scalars alone, summed on the device. Validation adds counts of (phone, unit) pairs."""
        return self.training
