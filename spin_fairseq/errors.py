"""Errors that a user can act on: each says what is wrong, in which file, row or key, and what to do."""


class SpinError(Exception):
    """Base of every error that this package raises for bad input."""


class ManifestError(SpinError):
    """A manifest is missing, empty or malformed."""


class AudioError(SpinError):
    """An audio file cannot be used: unreadable, wrong rate, several channels, empty, NaN."""


class PhoneLabelError(SpinError):
    """Phone labels are missing, malformed or do not belong to the manifest."""


class SpeakerPitchError(SpinError):
    """A table of speaker pitch ranges is unreadable, unsafe, or lacks a speaker."""


class CheckpointError(SpinError):
    """A checkpoint is unreadable, unsafe, of another kind, or its shapes disagree."""


class ConfigError(SpinError):
    """A configuration value is out of range or contradicts another."""


class PerturbationError(SpinError):
    """A perturbation backend is missing or failed on an utterance."""


class PitchMarkError(SpinError):
    """A file of cached pitch marks is missing, cut off, damaged, or something else."""


class PiecesError(SpinError):
    """Acoustic pieces, or the units that they are made of, are missing, malformed or do not belong to the manifest."""


class EvaluationError(SpinError):
    """Units, features or speakers cannot be evaluated; it names the utterance."""


class ShardError(SpinError):
    """Shards of a piece of work are missing, cut off, or do not belong together; or one cannot be run."""
