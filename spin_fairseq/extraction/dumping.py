"""Write the output of a model for every utterance of a manifest to files: units, embeddings, scores or a layer's features."""

import io
import itertools
import json
import logging
from pathlib import Path
from collections.abc import Callable, Iterable

from torch import nn
import numpy as np
import torch

from ..speech.audio import SAMPLE_RATE
from ..speech.row_groups import row_groups
from ..encoders import AS_USUAL, Mode, SpeechEncoder
from ..errors import ConfigError, ManifestError
from ..progress import ProgressBar
from .batches import extract_each
from ..fingerprints import file_fingerprint, manifest_fingerprint
from .long_files import Chunks
from .resumable import ResumableFiles
from ..speech.manifest import Manifest

LONG = 300.0  # seconds of a file from which on a bound of its attention is suggested

logger = logging.getLogger(__name__)

GROUP_SAMPLES = 1200 * SAMPLE_RATE  # what a kill costs at most, and what is sorted by length at a time


def format_of(out: str | Path, output: str) -> str:
    """By the name of the file: .npy, .jsonl, else .km; what is not units is .npy."""
    suffix = Path(out).suffix
    return suffix[1:] if suffix in (".npy", ".jsonl") else "km" if output == "units" else "npy"


def runs(units: Iterable[int]) -> tuple[list[int], list[int]]:
    """[5, 5, 7] -> [5, 7], [2, 1]: units without repeats, and how many frames each lasts."""
    pairs = [(int(unit), sum(1 for _ in group)) for unit, group in itertools.groupby(units)]
    return [unit for unit, _ in pairs], [count for _, count in pairs]


def encoder_of(model: nn.Module) -> SpeechEncoder:
    """A Spin model's encoder; an encoder alone is its own."""
    return model.encoder if hasattr(model, "head") else model


def computation(model: nn.Module, output: str, layer: int | None = None, codebook: int = 0) -> Callable:
    """-> compute(source, padding_mask, mode) for `extract_each`; mode: an encoders.Mode, how it is computed.

    model: a Spin model, or for output="features" an encoder alone. layer: 1-based, of "features"; None: the one that the
    head reads, of an encoder the last. Raises ConfigError.
    """
    if output == "features":
        layers = encoder_of(model).num_layers
        if layer is not None and not 1 <= layer <= layers:
            raise ConfigError(f"--layer is {layer}: the encoder has layers 1..{layers}; choose one")
        return lambda source, mask, mode=AS_USUAL: model.extract_features(source, mask, output_layer=layer, mode=mode)[
            0
        ]
    if layer not in (None, model.output_layer):
        raise ConfigError(
            f"--layer is {layer}: {output} are of layer {model.output_layer}; it is for --output features"
        )
    if not 0 <= codebook < len(model.head.prototypes):
        raise ConfigError(f"--codebook is {codebook}: the checkpoint has codebooks 0..{len(model.head.prototypes) - 1}")
    return {
        "units": lambda source, mask, mode=AS_USUAL: model.extract_units(source, mask, codebook, mode),
        "embeddings": model.extract_embeddings,
        "scores": lambda source, mask, mode=AS_USUAL: model.extract_scores(source, mask, codebook, mode),
    }[output]


def _width(model, output, codebook):
    """Columns of a frame's row; () for units."""
    if output == "units":
        return ()
    if output == "scores":
        return (len(model.head.prototypes[codebook]),)
    return (model.head.prototypes[0].size(1) if output == "embeddings" else encoder_of(model).width,)


def _rows(results, format, deduplicate):
    """The bytes of some utterances. results: (id, array) pairs -> {"out": ..., and what goes beside it}."""
    if format == "npy":
        lengths = "".join(f"{len(array)}\n" for _, array in results)
        return {"out": b"".join(array.tobytes() for _, array in results), "len": lengths.encode()}
    if format == "jsonl":
        lines = []
        for name, array in results:
            units, durations = runs(array)
            lines.append(json.dumps({"id": name, "units": units, "durations": durations}, ensure_ascii=False))
    else:
        lines = [" ".join(map(str, runs(array)[0] if deduplicate else array)) for _, array in results]
    return {"out": "".join(line + "\n" for line in lines).encode("utf-8", "surrogateescape")}


def npy_header(frames: int, width: tuple[int, ...], dtype: np.dtype) -> bytes:
    """The first bytes of a .npy file with an array of shape (frames, *width)."""
    file = io.BytesIO()
    shape = (frames, *width)
    np.lib.format.write_array_header_1_0(
        file, {"descr": np.lib.format.dtype_to_descr(dtype), "fortran_order": False, "shape": shape}
    )
    return file.getvalue()


def dump(
    model: nn.Module, checkpoint: str | Path, manifest: Manifest, out: str | Path, *, output: str = "units",
    layer: int | None = None, codebook: int = 0, format: str | None = None, deduplicate: bool = False,
    device: str = "cpu", workers: int = 1, max_samples: int = 480_000, chunk_seconds: float = 10.0,
    attention_seconds: float | None = None, progress: str = "",
) -> None:  # fmt: skip
    """Write what `model` makes of every utterance, in the manifest's order, to `out` and files beside it.

    format: "km": a row of units an utterance; "jsonl": a JSON object an utterance; "npy": all frames in one array, with
    the number of frames of each utterance in `.len`, as fairseq's k-means scripts take it; None: by the name of `out`.
    "km" and "npy" have the utterances' ids in `.ids`. checkpoint: the model's file, by which an interrupted run is
    known: called again, it resumes. max_samples: of a batch, padding included. chunk_seconds: what is
    computed at a time of a long file, in overlapping pieces where the computation reaches over its border; the result
    does not depend on it. attention_seconds: longer files attend within overlapping chunks of this length alone.
    Raises SpinError; nothing has its name before all of it is written.
    """
    format = format or format_of(out, output)
    if output != "units" and format != "npy":
        raise ConfigError(f"--format is {format}: {output} are written as npy alone; name the output .npy")
    if deduplicate and format == "npy":
        raise ConfigError("--deduplicate is for .km; an array has one unit a frame, and .jsonl has durations")
    compute = computation(model, output, layer, codebook)
    encoder = encoder_of(model)
    mode = Mode(packed=True, block=max(1, encoder.output_lengths(int(chunk_seconds * encoder.sample_rate))))
    frames = encoder.output_lengths(manifest.sizes)
    if frames.min() < 1:
        row = int(frames.argmin())
        raise ManifestError(
            f"{manifest.path(row)}: {manifest.sizes[row]} samples are too short for a frame; leave it out"
        )
    chunks = Chunks(encoder, attention_seconds, mode=mode) if attention_seconds else None

    seconds = manifest.sizes / encoder.sample_rate
    if attention_seconds is None and seconds.max() > LONG:
        row = int(seconds.argmax())
        logger.warning(
            f"{manifest.path(row)}: has {seconds[row] / 60:.0f} minutes; attention takes time with the square of that: "
            "--attention-seconds 60 bounds it, and changes units a little"
        )

    out = Path(out)
    paths = {"out": out}
    if format == "npy":
        paths["len"] = out.with_suffix(".len")
    if format != "jsonl":
        paths["ids"] = out.with_suffix(".ids")
    fingerprint = {
        "manifest": manifest_fingerprint(manifest), "checkpoint": file_fingerprint(checkpoint), "output": output,
        "layer": layer, "codebook": codebook, "format": format, "deduplicate": deduplicate,
        "attention_seconds": attention_seconds,
        "encoder": {key: str(value) for key, value in encoder.config.items()},
        **({} if encoder.product_dtype == "float32" else {"dtype": encoder.product_dtype}),
    }  # fmt: skip
    with (
        ResumableFiles(paths, fingerprint) as files,
        ProgressBar(
            total=round(float(seconds.sum()), 1),
            initial=round(float(seconds[: files.done].sum()), 1),
            desc=progress,
            disable=not progress,
            unit="s",
            unit_scale=True,
            miniters=0,
        ) as bar,
    ):
        dtype = np.dtype(np.int64 if output == "units" else np.float32)
        if files.done == 0 and format == "npy":
            files.append(0, out=npy_header(int(frames.sum()), _width(model, output, codebook), dtype))
        for begin, end in row_groups(manifest.sizes, GROUP_SAMPLES):
            if end <= files.done:
                continue
            part = manifest.select(np.arange(begin, end))
            found = [None] * len(part)
            for index, (array,) in extract_each(
                compute, encoder.output_lengths, part, max_samples=max_samples, device=device, workers=workers,
                chunks=chunks, threads=torch.get_num_threads() if str(device) == "cpu" else 1, mode=mode,
                progress=lambda samples: bar.update(samples / encoder.sample_rate),
            ):  # fmt: skip
                found[index] = (part.utterance_id(index), array.astype(dtype, copy=False))
            content = _rows(found, format, deduplicate)
            if "ids" in paths:
                content["ids"] = "".join(name + "\n" for name, _ in found).encode("utf-8", "surrogateescape")
            files.append(end - begin, **content)
        files.finish()
