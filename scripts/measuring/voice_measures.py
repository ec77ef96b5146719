"""What a change of voice did to an utterance, measured by Praat's own analysis (extra `[praat]`).

`Voice` holds what is measured of one wave: f0 (autocorrelation), formants (Burg), the long-term mel spectrum and level.
The functions below hold one changed wave against the utterance that it was made of, or two changed waves of the same
utterance against each other. Nothing here knows which engine made a wave.
"""

from typing import NamedTuple

import numpy as np

from spin_fairseq.errors import ConfigError

STEP = 0.01  # s between frames of f0
F0_MARGIN = 1.25  # f0 is looked for that much below and above the range that it should lie in
LOWEST_FLOOR = 30.0  # Hz: Praat's windows grow with the period
FORMANTS = 3
FORMANT_CEILING = {
    True: 5500.0,
    False: 5000.0,
}  # Hz, of a high and a low voice: where Praat's manual puts five formants
HIGH_VOICE = 90.0  # Hz: a speaker whose pitch floor is above this
MEL_BANDS, MEL_WINDOW, MEL_HOP = 40, 512, 160
VOWELS = frozenset("AA AE AH AO AW AY EH ER EY IH IY OW OY UH UW".split())
SAME_PITCH = 50.0  # cents


class Voice(NamedTuple):
    """Measures of one wave."""

    f0: np.ndarray  # (F,) Hz every 10 ms, 0 where voiceless
    formants: np.ndarray  # (3, L) Hz at the times asked for, NaN where there is none
    log_mel: np.ndarray  # (40, frames) dB
    level: float  # dB, of the whole wave


def parselmouth_or_error():
    """The module, or ConfigError with the remedy."""
    try:
        import parselmouth
    except ImportError:
        raise ConfigError("Praat's analysis needs Parselmouth: pip install praat-parselmouth") from None
    return parselmouth


def mel_filters(sample_rate):
    """(40, bins): triangles of equal area, equally spaced on the mel scale from 0 to half the rate."""
    edges = 700 * (10 ** (np.linspace(0, 2595 * np.log10(1 + sample_rate / 1400), MEL_BANDS + 2) / 2595) - 1)
    bins = np.fft.rfftfreq(MEL_WINDOW, 1 / sample_rate)
    rising = (bins - edges[:-2, None]) / np.diff(edges)[:-1, None]
    falling = (edges[2:, None] - bins) / np.diff(edges)[1:, None]
    filters = np.maximum(0, np.minimum(rising, falling))
    return filters / np.maximum(filters.sum(1, keepdims=True), 1e-9)


def log_mel(wave, sample_rate):
    """(T,) -> (40, frames) dB, 32-ms Hann windows every 10 ms."""
    wave = np.pad(wave, (0, max(0, MEL_WINDOW - len(wave))))
    frames = np.lib.stride_tricks.sliding_window_view(wave, MEL_WINDOW)[::MEL_HOP] * np.hanning(MEL_WINDOW)
    power = np.abs(np.fft.rfft(frames)) ** 2
    return 10 * np.log10(mel_filters(sample_rate) @ power.T + 1e-9)


def f0_contour(wave, sample_rate, floor, ceiling, step=STEP):
    """f0 by Praat's autocorrelation method, (F,) Hz, 0 where voiceless."""
    parselmouth = parselmouth_or_error()
    sound = parselmouth.Sound(wave.astype(np.float64), sampling_frequency=sample_rate)
    return sound.to_pitch_ac(time_step=step, pitch_floor=floor, pitch_ceiling=ceiling).selected_array["frequency"]


def formant_tracks(wave, sample_rate, times, ceiling):
    """F1 to F3 by Burg's method at `times`, s -> (3, len(times)) Hz, NaN where Praat finds none.

    ceiling: Hz, below which five formants are expected.
    """
    parselmouth = parselmouth_or_error()
    sound = parselmouth.Sound(wave.astype(np.float64), sampling_frequency=sample_rate)
    tracks = sound.to_formant_burg(time_step=STEP, max_number_of_formants=5.0, maximum_formant=ceiling)
    return np.array([[tracks.get_value_at_time(n, time) for time in times] for n in range(1, FORMANTS + 1)])


def measure(wave, sample_rate, pitch_range, vowel_times, formant_ratio=1.0, pitch_ratio=1.0):
    """The Voice of a wave whose formants and f0 should lie at these ratios to those of the speaker.

    pitch_range: floor and ceiling of the speaker's f0, Hz; f0 is looked for in that range times `pitch_ratio`, a quarter
    wider on either side. vowel_times: (L,) s, where formants are measured.
    """
    floor, ceiling = pitch_range
    f0 = f0_contour(
        wave, sample_rate, max(LOWEST_FLOOR, floor * pitch_ratio / F0_MARGIN), ceiling * pitch_ratio * F0_MARGIN
    )
    # What the ratio moved beyond half the rate is gone.
    highest = min(FORMANT_CEILING[floor > HIGH_VOICE] * formant_ratio, sample_rate / 2)
    level = 10 * np.log10(np.mean(np.square(wave, dtype=np.float64)) + 1e-12)
    formants = formant_tracks(wave, sample_rate, vowel_times, highest)
    return Voice(f0, formants, log_mel(wave, sample_rate), float(level))


def vowel_times(labels, seconds):
    """Centres of the 10-ms labels that are vowels, s. labels: (L,) strings."""
    times = (np.flatnonzero([label in VOWELS for label in labels]) + 0.5) * 0.01
    return times[times < seconds]


def median_f0(f0):
    """Of the voiced frames; NaN where there are none."""
    return float(np.median(f0[f0 > 0])) if (f0 > 0).any() else np.nan


def formant_ratios(changed, original):
    """Median ratio of each formant to the original's, (3,). Two Voices measured at the same times."""
    ratios = changed.formants / original.formants
    found = np.isfinite(ratios)
    return np.array([np.median(row[good]) if good.any() else np.nan for row, good in zip(ratios, found)])


def spectrum_distance(one, other):
    """Mean absolute difference of the long-term mel spectra (mean power over time), dB. Two Voices."""
    long_term = (10 * np.log10(np.mean(10 ** (voice.log_mel / 10), axis=1)) for voice in (one, other))
    return float(np.mean(np.abs(np.subtract(*long_term))))


def log_mel_distance(one, other):
    """Mean absolute difference over frames and bands, dB; the fainter of two stretches counts as 60 dB below the peak."""
    loudest = max(one.log_mel.max(), other.log_mel.max())
    pair = (np.maximum(voice.log_mel, loudest - 60) for voice in (one, other))
    return float(np.mean(np.abs(np.subtract(*pair))))


def asked_contour(f0, pitch_ratio, range_ratio, frames):
    """The contour that the ratios ask for, (frames,) Hz, 0 where voiceless or where it would not be above 0.

    f0: (F,) of the unchanged wave. Praat's frames lie around the middle of a wave, however many they are: where the other
    contour has an odd number more or less, its frames lie halfway between two of `f0`.
    """
    beyond = max(0, frames - len(f0)) // 2 + 1
    padded = np.pad(f0, beyond)
    place = np.arange(frames) + (len(f0) - frames) / 2 + beyond
    before, behind = padded[np.floor(place).astype(int)], padded[np.ceil(place).astype(int)]
    source, median = (before + behind) / 2, median_f0(f0)
    asked = np.maximum(0, median * pitch_ratio * (1 + (source / median - 1) * range_ratio))
    return np.where((before > 0) & (behind > 0), asked, 0.0)


def contour_agreement(f0, other):
    """-> (share within 50 cents of the frames voiced in both, share of frames with the same voicing).

    The first is NaN where no frame is voiced in both.
    """
    length = min(len(f0), len(other))
    f0, other = f0[:length], other[:length]
    both = (f0 > 0) & (other > 0)
    cents = 1200 * np.abs(np.log2(f0[both] / other[both]))
    near = float(np.mean(cents < SAME_PITCH)) if both.any() else np.nan
    return near, float(np.mean((f0 > 0) == (other > 0)))
