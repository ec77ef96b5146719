"""Sound and pictures inside a page, as data URIs: the page needs no other file."""

import base64
import io

import numpy as np
import soundfile

from ..speech.audio import SAMPLE_RATE

FFT, HOP = 512, 128  # samples, of the spectrograms
RANGE_DB = 70  # shown below the loudest


def data_uri(kind: str, content: bytes) -> str:
    """kind: the MIME type; content: bytes."""
    return f"data:{kind};base64,{base64.b64encode(content).decode()}"


def sound(wave: np.ndarray) -> str:
    """(T,) float32 -> a 16-bit FLAC as a data URI."""
    file = io.BytesIO()
    soundfile.write(file, np.clip(wave, -1, 1), SAMPLE_RATE, format="FLAC", subtype="PCM_16")
    return data_uri("audio/flac", file.getvalue())


def _levels(wave):
    """(T,) -> (FFT / 2 + 1, frames) dB, one frame every HOP samples."""
    padded = np.pad(wave, (FFT // 2, FFT))
    frames = np.lib.stride_tricks.sliding_window_view(padded, FFT)[: len(wave) : HOP] * np.hanning(FFT)
    return 20 * np.log10(np.abs(np.fft.rfft(frames)).T + 1e-6)


def loudest_level(wave: np.ndarray) -> float:
    """(T,) -> dB: what `spectrogram` shows at its brightest, so that several waves share one scale."""
    return float(_levels(wave).max())


def spectrogram(wave: np.ndarray, loudest: float, colours: str = "magma") -> str:
    """(T,) -> a PNG of 0 to 8 kHz as a data URI; loudest: dB, of the last colour; colours: matplotlib's name of them."""
    from matplotlib import colormaps
    from matplotlib.image import imsave

    picture = np.clip((_levels(wave) - loudest) / RANGE_DB + 1, 0, 1)[::-1][1::2]
    file = io.BytesIO()
    imsave(file, picture, vmin=0, vmax=1, cmap=colormaps[colours], format="png", pil_kwargs={"optimize": True})
    return data_uri("image/png", file.getvalue())


def envelope(wave: np.ndarray, columns: int = 600) -> tuple[np.ndarray, np.ndarray]:
    """(T,) -> lowest and highest sample of each of so many equal segments, two (columns,) arrays."""
    edges = np.linspace(0, len(wave), min(columns, len(wave)) + 1).astype(int)[:-1]
    return np.minimum.reduceat(wave, edges), np.maximum.reduceat(wave, edges)
