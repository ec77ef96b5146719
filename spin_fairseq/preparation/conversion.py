"""Any audio file to 16 kHz mono 16-bit FLAC, by sox; what sox cannot decode is decoded by soundfile first."""

from __future__ import annotations

import logging
import os
import shutil
import tempfile

import numpy as np
import soundfile

from spin_fairseq.speech.audio import SAMPLE_RATE, UNKNOWN_LENGTH, audio_info, read_audio
from spin_fairseq.errors import AudioError, ManifestError
from spin_fairseq.files import whole_file

BLOCK = 1 << 20  # samples
# A lossy codec pads by up to some thousand samples; a file that is cut off lacks more.
TOLERANCE_SECONDS, TOLERANCE_SHARE = 0.2, 0.01


def convert_to_flac(source: str, target: str) -> int:
    """Write `target`, all of it or nothing; a finished one that is newer than `source` is kept.

    Returns:
        samples of `target`, at 16 kHz.

    Raises:
        AudioError: `source` is unreadable, cut off, empty, or holds NaN; or the sox program is missing.
    """
    if os.path.exists(target) and os.path.getmtime(target) >= os.path.getmtime(source):
        try:
            return len(read_audio(target))
        except AudioError:
            pass  # not one of ours; made anew below
    seconds = _checked_seconds(source)
    # A full disk is no fault of the audio: another error, or every file would be left out as bad.
    with whole_file(target, ManifestError) as hidden:
        temporary = str(hidden)
        problem = _sox(source, temporary)
        if problem and seconds is not None:
            with tempfile.TemporaryDirectory(prefix="spin_") as folder:
                decoded = os.path.join(folder, "decoded.wav")
                _decode(source, decoded)
                problem = _sox(decoded, temporary)
        if problem:
            raise AudioError(f"{source}: neither soundfile nor sox can decode it ({problem}); convert it to WAV first")
        try:
            samples = len(read_audio(temporary))
        except AudioError as error:
            raise AudioError(f"{source}: sox made nothing usable of it: {error}") from error
        lacking = 0 if seconds is None else seconds - samples / SAMPLE_RATE
        if lacking > max(TOLERANCE_SECONDS, TOLERANCE_SHARE * (seconds or 0)):
            raise AudioError(f"{source}: is cut off: {lacking:.2f} s of its {seconds:.2f} s are missing; replace it")
    return samples


def _checked_seconds(source: str) -> float | None:
    """Seconds by the header; None when soundfile cannot tell, so that sox decides."""
    try:
        info = soundfile.info(source)
    except (soundfile.SoundFileError, OSError, ValueError):
        if not os.path.isfile(source) or os.path.getsize(source) == 0:
            audio_info(source)  # says what is wrong
        return None
    if info.frames >= UNKNOWN_LENGTH:
        return None
    samples, sample_rate, _ = audio_info(source)
    if info.subtype in ("FLOAT", "DOUBLE"):  # sox would make silence of NaN and full scale of infinity
        for block in soundfile.blocks(source, BLOCK, dtype="float32"):
            if not np.isfinite(block).all():
                raise AudioError(f"{source}: has samples that are NaN or infinite; replace the file")
    return samples / sample_rate


def _decode(source: str, target: str) -> None:
    try:
        with soundfile.SoundFile(source) as file:
            with soundfile.SoundFile(target, "w", file.samplerate, file.channels, "PCM_24") as out:
                for block in file.blocks(BLOCK, dtype="float32", always_2d=True):
                    out.write(block)
    except (soundfile.SoundFileError, ValueError) as error:
        raise AudioError(f"{source}: cannot be decoded ({str(error).strip()}); replace the file") from error


def _sox(source: str, target: str) -> str:
    """Run sox; -> "" or what it complains about."""
    if shutil.which("sox") is None:
        raise AudioError("the sox program is missing; install it: apt install sox")
    import sox  # looks for the program as soon as it is imported

    logging.getLogger("sox").setLevel(logging.CRITICAL)  # its errors are returned
    transformer = sox.Transformer()
    transformer.globals = [*transformer.globals, "--no-glob"]  # a name like a[1].wav is no pattern
    transformer.set_output_format(file_type="flac", rate=SAMPLE_RATE, channels=1, bits=16)
    try:
        transformer.build(os.path.abspath(source), os.path.abspath(target))
    except (sox.SoxError, sox.core.SoxiError, OSError, ValueError) as error:
        lines = [line.strip() for line in str(error).splitlines() if line.strip()]
        return lines[-1] if lines else type(error).__name__
    return ""
