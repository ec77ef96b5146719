"""The configuration of the task."""

from dataclasses import dataclass
from typing import Any, Optional

from fairseq.dataclass import FairseqDataclass
from omegaconf import II, MISSING

from ..data.voices import CORPUS, DRAWS
from ..options import option
from ..errors import ConfigError
from ..speech.audio import SAMPLE_RATE

# Below 50 ms there is no frame to speak of.
FEWEST_SAMPLES = 800


@dataclass
class SpinTaskConfig(FairseqDataclass):
    data: str = option(MISSING, "folder with the manifests, {split}.tsv or {split}.json")
    phones: Optional[str] = option(None, "folder with phone labels, {split}.tsv; null: validation reports no PNMI")
    speaker_pitch: Optional[str] = option(
        None, "pitch range of each speaker: spk2info.dict, SPEAKERS.TXT or a .tsv; null: estimated for each utterance"
    )
    pitch_marks: Optional[str] = option(
        None, "folder of cached pitch marks for the native engine; null: found while training"
    )
    perturbation: str = option("native", "engine that changes the voice of the second view: native, praat, sox or none")
    perturb_on: str = option(
        "worker", "where voices are changed: worker (data workers), or device (native engine, on the model's device)"
    )
    perturbation_strength: float = option(
        1.0,
        "strength of the voice change, above 0; 1: the recipe's. Ratios are raised to this power, gains (dB) multiplied",
    )
    voice_draw: str = option(
        "uniform",
        "which voice the second view is changed to: uniform (the recipe's random ratios), or corpus (the pitch, pitch range and "
        "formants of another speaker of the split, by the columns that spin-fairseq pitch writes for task.speaker_pitch)",
    )
    perturb_both_views: bool = option(False, "change the voice of the first view too")
    # `Any`, as a typed list would be evaluated by fairseq's argument parser; "a,b" and [a, b] both serve.
    noise: Any = option(
        "",
        "noise that is added to both views: speech-shaped, babble (other utterances of the split), or a folder, manifest or "
        "archive of recordings; of a list, one is drawn for each view",
    )
    noise_snr: Any = option("-10,10", "lowest and highest signal-to-noise ratio, dB; drawn uniformly for each view")
    noise_probability: float = option(1.0, "probability that a view has noise, if task.noise is set")
    reverberation: Any = option(
        "",
        "reverberation of both views: synthetic, or a folder, manifest or archive of impulse responses; of a list, one is "
        "drawn for each view",
    )
    reverberation_probability: float = option(
        0.5, "probability that a view has reverberation, if task.reverberation is set"
    )
    pieces: Optional[str] = option(
        None, "folder of acoustic pieces (spin-fairseq pieces), which R-Spin predicts; none: no auxiliary loss"
    )
    min_sample_size: int = option(40000, "leave out training utterances of fewer samples")
    max_sample_size: int = option(272000, "crop longer training utterances to so many samples")
    crop_multiple: int = option(
        1,
        "crop training utterances to a multiple of so many samples; 4000 loses 1 % of the speech, and most batches "
        "then need no padding, and their attention no mask; 1: do not crop",
    )
    max_bad_share: float = option(
        0.01, "fraction of a split's utterances that may be unreadable; above it the run stops"
    )
    collapse_share: float = option(
        0.1, "warn of a collapse if code_ppl stays below this fraction of the number of prototypes; 0: never"
    )
    collapse_updates: int = option(100, "number of consecutive updates with a low code_ppl before that warning")
    sample_rate: int = option(SAMPLE_RATE, "sample rate of all audio, Hz; fixed. fairseq's dump scripts read this key")
    normalize: bool = option(False, "fixed to false: the encoder itself normalises its input if its base needs it")
    launch_dir: Optional[str] = option(None, "folder that relative paths start from; null: the working directory")
    seed: int = II("common.seed")
    cpu: bool = II("common.cpu")
    train_subset: str = II("dataset.train_subset")
    save_dir: str = II("checkpoint.save_dir")
    restore_file: str = II("checkpoint.restore_file")


def check(cfg: Any) -> None:
    """cfg: a SpinTaskConfig, or its keys in another form, as fairseq has it. Raises ConfigError."""
    if cfg.perturb_on not in ("worker", "device"):
        raise ConfigError(f"task.perturb_on is {cfg.perturb_on!r}: it must be worker or device")
    if cfg.perturb_on == "device" and cfg.perturbation != "native":
        raise ConfigError(f"task.perturb_on is 'device': {cfg.perturbation} runs in a worker; choose native")
    if not 0 < cfg.perturbation_strength <= 1:
        raise ConfigError(
            f"task.perturbation_strength is {cfg.perturbation_strength}: it must be above 0 and at most 1; "
            "task.perturbation=none changes nothing"
        )
    if cfg.voice_draw not in DRAWS:
        raise ConfigError(f"task.voice_draw is {cfg.voice_draw!r}: it must be uniform or corpus")
    if cfg.voice_draw == CORPUS and cfg.speaker_pitch is None:
        raise ConfigError(
            "task.voice_draw is corpus: it needs the table that spin-fairseq pitch makes; name it as task.speaker_pitch"
        )
    if cfg.pitch_marks is not None and cfg.perturbation != "native":
        raise ConfigError(f"task.pitch_marks is set, but {cfg.perturbation} does not use them: leave it out")
    if not FEWEST_SAMPLES <= cfg.min_sample_size <= cfg.max_sample_size:
        raise ConfigError(
            f"task.min_sample_size={cfg.min_sample_size} and max_sample_size={cfg.max_sample_size}: "
            f"the first must be at least {FEWEST_SAMPLES} and not above the second"
        )
    if cfg.crop_multiple < 1:
        raise ConfigError(f"task.crop_multiple is {cfg.crop_multiple}: it must be at least 1 sample")
    if not 0 <= cfg.max_bad_share <= 1:
        raise ConfigError(f"task.max_bad_share is {cfg.max_bad_share}: it must be a fraction, between 0 and 1")
    if cfg.sample_rate != SAMPLE_RATE or cfg.normalize:
        raise ConfigError(f"task.sample_rate and task.normalize are fixed, to {SAMPLE_RATE} and false: leave them out")
    if not 0 <= cfg.collapse_share < 1 or cfg.collapse_updates < 1:
        raise ConfigError(
            f"task.collapse_share={cfg.collapse_share} and collapse_updates={cfg.collapse_updates}: the first must "
            "be at least 0 and under 1, the second at least 1"
        )
