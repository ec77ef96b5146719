"""The f0 contour of an utterance: normalised autocorrelation and a best path through its peaks (Boersma 1993).

Everything here works on batches, with shapes that depend on the shape of the input and on the lowest pitch floor alone,
so that a GPU is never waited for.
"""

import functools
import itertools
from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from scipy.fft import next_fast_len
from scipy.signal import firwin

from . import kernels

TIME_STEP = 0.01  # s between frames
ANALYSIS_RATE = 8000  # Hz; audio is brought down to about this rate
PERIODS_PER_WINDOW = 3.0
LAGS_PER_SAMPLE = 2
FRAMES_AT_A_TIME = (
    128  # on a CPU, whose cache then holds their spectra, and whose memory is not asked for anew each time
)
CANDIDATES = 8  # voiced candidates of a frame
NOISE_ABOVE = 0.5  # fraction of the energy above the analysed band that is taken for noise
WIDE_RANGE = (60.0, 600.0)  # Hz, where nothing is known of the speaker

# Praat's defaults. The costs are for steps of 10 ms, as here.
SILENCE_THRESHOLD = 0.03
VOICING_THRESHOLD = 0.45
OCTAVE_COST = 0.01
OCTAVE_JUMP_COST = 0.35
VOICING_CHANGE_COST = 0.14


class Frames(NamedTuple):
    """Windowed frames of a batch, and where they lie."""

    samples: torch.Tensor  # (B, F, N) float32, each multiplied by the window
    window: torch.Tensor  # (B, N)
    rate: float  # Hz, of the samples in the frames
    step: int  # samples of the input between the centres of frames; the first one is half a step from the start
    intensity: torch.Tensor  # (B, F) the largest sample around the centre, over the utterance's; 0 behind its end
    valid: torch.Tensor  # (B, F) bool: the centre lies inside the utterance
    longest_period: float  # s, of the lowest pitch floor
    energy: torch.Tensor | None = None  # (B, F) of the windowed input, all of its band; None: there is no more of it


@functools.lru_cache(maxsize=8)
def _decimation_filter(factor):
    return firwin(10 * factor + 1, 0.9 / factor).tolist()


def _decimate(wave, factor):
    """(B, T) -> (B, ceil(T / factor)): low-passed, every `factor`-th sample, the first one first."""
    taps = _decimation_filter(factor)
    count, middle = -(-wave.size(1) // factor), len(taps) // 2
    padded = F.pad(wave, (middle, (count + len(taps)) * factor - wave.size(1)))
    size = padded.size(1) // factor
    phases = padded[:, : size * factor].view(len(wave), size, factor).transpose(1, 2).contiguous()
    result = phases[:, 0, :count] * taps[0]
    for tap, weight in enumerate(taps[1:], 1):
        shift, phase = divmod(tap, factor)
        result.add_(phases[:, phase, shift : shift + count], alpha=weight)
    return result


def cut_frames(wave: torch.Tensor, lengths: torch.Tensor, sample_rate: float, pitch_floor: np.ndarray) -> Frames:
    """Hann-windowed frames of three periods of the floor, every 10 ms, of the wave at about 8 kHz.

    wave: (B, T) float32, zero behind `lengths` (B,); pitch_floor: array (B,), Hz.
    """
    factor = max(1, int(sample_rate // ANALYSIS_RATE))
    rate = sample_rate / factor
    inside = torch.arange(wave.size(1), device=wave.device) < lengths[:, None]
    mean = wave.sum(1, keepdim=True) / lengths[:, None].clamp(min=1)
    wave = (wave - mean) * inside
    power = wave[:, ::factor].square()
    if factor > 1:
        wave = _decimate(wave, factor)
    step = max(2, 2 * round(TIME_STEP * rate / 2))
    width = max(8, int(PERIODS_PER_WINDOW / float(pitch_floor.min()) * rate) // 2 * 2 + 1)
    count = -(-wave.size(1) // step)
    # Frame i is centred on sample i * step + step // 2 of the decimated wave.
    before = width // 2 - step // 2

    def padded(x):
        return F.pad(x, (max(0, before), (count - 1) * step + width))[:, max(0, -before) :]

    wave = padded(wave)
    frames = wave.unfold(1, width, step)[:, :count]
    own_width = torch.from_numpy(PERIODS_PER_WINDOW * rate / pitch_floor).to(wave, non_blocking=True)
    offset = torch.arange(width, device=wave.device) - width // 2
    window = torch.cos(np.pi * offset / own_width[:, None]).square() * (offset.abs() < own_width[:, None] / 2)
    frames = (frames - frames.mean(-1, keepdim=True)).mul_(window[:, None])
    energy = None
    if factor > 1:
        energy = (padded(power).unfold(1, width, step)[:, :count] @ window.square()[..., None])[..., 0]
    centres = (torch.arange(count, device=wave.device) * step + step // 2) * factor
    valid = centres < lengths[:, None]
    half = int(rate / float(pitch_floor.min()) / 2) + 1
    near = frames[..., max(0, width // 2 - half) : width // 2 + half + 1].abs().amax(-1)
    intensity = near / wave.abs().amax(1, keepdim=True).clamp(min=1e-20) * valid
    return Frames(frames, window, rate, step * factor, intensity, valid, 1 / float(pitch_floor.min()), energy)


def normalised_autocorrelation(frames: Frames) -> torch.Tensor:
    """r(lag) of each frame over that of the window, r(0) = 1 (equation 9 of Boersma 1993): -> (B, F, lags) float32.

    Lags in steps of 1 / LAGS_PER_SAMPLE sample of the frames, from 0 to a little more than the longest period. The finer
    steps are band-limited interpolation: short periods would otherwise lose to twice their length, which lies nearer to
    a whole number of samples. Half of the energy above the analysed band counts as noise, which has no period: without
    it, voiced fricatives and breath would pass for voice more readily than at the full band.
    """
    longest = int(frames.rate * frames.longest_period) + 2
    lags = max(LAGS_PER_SAMPLE * longest, CANDIDATES + 3)
    size = next_fast_len(frames.samples.size(-1) + longest, real=True)

    def autocorrelation(x):
        spectrum = torch.fft.rfft(x, size)
        power = spectrum.real.square().addcmul_(spectrum.imag, spectrum.imag)
        if size % 2 == 0:
            power[..., -1:].mul_(0.5)  # the bin at the Nyquist frequency is two bins of the finer grid
        return torch.fft.irfft(torch.complex(power, torch.zeros_like(power)), LAGS_PER_SAMPLE * size)[..., :lags]

    of_window = autocorrelation(frames.window)
    of_window = (of_window / of_window[:, :1])[:, None]

    def normalised(samples, full_energy):
        r = autocorrelation(samples)
        energy = r[..., :1]
        if full_energy is not None:
            above = full_energy[..., None] / LAGS_PER_SAMPLE - energy
            energy = energy + NOISE_ABOVE * above.clamp(min=0)
        return r.div_((energy * of_window).clamp_(min=1e-20))

    if frames.samples.device.type != "cpu":
        return normalised(frames.samples, frames.energy)
    parts = zip(
        frames.samples.split(FRAMES_AT_A_TIME, 1),
        itertools.repeat(None) if frames.energy is None else frames.energy.split(FRAMES_AT_A_TIME, 1),
    )
    return torch.cat([normalised(*part) for part in parts], 1)


def candidates(
    r: torch.Tensor, lag_rate: float, pitch_floor: torch.Tensor, pitch_ceiling: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    """The strongest peaks of r between floor and ceiling -> frequency (B, F, C) Hz, strength (B, F, C).

    r: (B, F, lags); lag_rate: lags a second. Places are refined by a parabola. Where a frame has fewer peaks, strength is -inf and frequency 1.
    """
    before, middle, after = r[..., 1:-2], r[..., 2:-1], r[..., 3:]
    curvature = (2 * middle - before - after).clamp(min=1e-12)
    slope = (after - before) / 2
    lag = torch.arange(2, r.size(-1) - 1, device=r.device) + (slope / curvature).clamp(-1.0, 1.0)
    strength = middle + slope.square() / (2 * curvature)
    strength = torch.where(strength > 1, 1 / strength, strength)
    frequency = lag_rate / lag
    good = (middle > before) & (middle >= after) & (middle > 0.5 * VOICING_THRESHOLD)
    good &= (frequency < pitch_ceiling[:, None, None]) & (frequency >= pitch_floor[:, None, None])
    rank = torch.where(good, strength + OCTAVE_COST * frequency.log2(), -torch.inf)
    rank, place = rank.topk(CANDIDATES, dim=-1)
    missing = rank == -torch.inf
    frequency = frequency.gather(-1, place).masked_fill(missing, 1.0)
    return frequency, strength.gather(-1, place).masked_fill(missing, -torch.inf)


def best_path(
    frequency: torch.Tensor, strength: torch.Tensor, intensity: torch.Tensor, pitch_ceiling: torch.Tensor
) -> torch.Tensor:
    """The path through the candidates with the highest sum of strengths less costs -> f0 (B, F) Hz, 0 where voiceless.

    frequency, strength: (B, F, C); intensity: (B, F), a frame's peak over the utterance's. Viterbi's algorithm; the
    numba twin, with `candidates`, is kernels.track.
    """
    silence = SILENCE_THRESHOLD / (1 + VOICING_THRESHOLD)
    voiceless = VOICING_THRESHOLD + (2 - intensity / silence).clamp(min=0)
    octaves = frequency.log2()
    local = strength - OCTAVE_COST * (pitch_ceiling.log2()[:, None, None] - octaves)
    local = torch.cat([voiceless[..., None], local], -1)
    voiced = torch.arange(local.size(-1), device=local.device) > 0
    change = VOICING_CHANGE_COST * (voiced[:, None] != voiced)
    score, sources = local[:, 0], []
    for frame in range(1, local.size(1)):
        jump = OCTAVE_JUMP_COST * (octaves[:, frame - 1, :, None] - octaves[:, frame, None, :]).abs()
        best, source = (score[:, :, None] - F.pad(jump, (1, 0, 1, 0)) - change).max(1)
        score = best + local[:, frame]
        sources.append(source)
    state = score.argmax(-1, keepdim=True)
    states = [state]
    for source in reversed(sources):
        state = source.gather(1, state)
        states.append(state)
    states = torch.stack(states[::-1], 1)
    return F.pad(frequency, (1, 0)).gather(-1, states)[..., 0]


def contour_in_range(
    r: torch.Tensor, frames: Frames, pitch_floor: torch.Tensor, pitch_ceiling: torch.Tensor
) -> torch.Tensor:
    """f0 between floor and ceiling, (B,) float32 Hz each: (B, F) float32 Hz, 0 where voiceless."""
    if r.device.type != "cpu":
        found = candidates(r, LAGS_PER_SAMPLE * frames.rate, pitch_floor, pitch_ceiling)
        return best_path(*found, frames.intensity, pitch_ceiling)
    rows = [
        kernels.track(
            *row, LAGS_PER_SAMPLE * frames.rate, float(floor), float(ceiling), CANDIDATES,
            VOICING_THRESHOLD, SILENCE_THRESHOLD, OCTAVE_COST, OCTAVE_JUMP_COST, VOICING_CHANGE_COST,
        )
        for *row, floor, ceiling in zip(r.numpy(), frames.intensity.numpy(), pitch_floor, pitch_ceiling)
    ]  # fmt: skip
    return torch.from_numpy(np.stack(rows))


def range_of(f0: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """A speaker's floor and ceiling from f0 values: (B, N) Hz, 0 where voiceless -> (B,), (B,) Hz.

    0.72 times the 35th and 1.9 times the 65th percentile (De Looze and Rauzy 2009), which octave errors leave alone;
    inside WIDE_RANGE, and that where nothing is voiced.
    """
    voiced = f0 > 0
    order = torch.where(voiced, f0, torch.inf).sort(1).values
    last = (voiced.sum(1, keepdim=True) - 1).clamp(min=0)
    low, high = (order.gather(1, (rank * last).round().long())[:, 0] for rank in (0.35, 0.65))
    some = voiced.any(1)
    floor = torch.where(some, 0.72 * low, WIDE_RANGE[0]).clamp(*WIDE_RANGE)
    return floor, torch.where(some, 1.9 * high, WIDE_RANGE[1]).clamp(*WIDE_RANGE)


def f0_contour(
    wave: torch.Tensor, lengths: torch.Tensor, sample_rate: float, pitch_floor: np.ndarray | None = None,
    pitch_ceiling: np.ndarray | None = None,
) -> tuple[torch.Tensor, Frames]:  # fmt: skip
    """-> f0 (B, F) float32 Hz, 0 where voiceless, and the Frames that it belongs to.

    wave: (B, T) float32, zero behind `lengths` (B,); floor, ceiling: arrays (B,), Hz. None: a first look over
    WIDE_RANGE tells each row's own range.
    """
    known = pitch_floor is not None
    if not known:
        pitch_floor, pitch_ceiling = (np.full(len(wave), limit) for limit in WIDE_RANGE)
    frames = cut_frames(wave, lengths, sample_rate, pitch_floor)
    r = normalised_autocorrelation(frames)
    limits = [torch.from_numpy(limit).to(r, non_blocking=True) for limit in (pitch_floor, pitch_ceiling)]
    f0 = contour_in_range(r, frames, *limits)
    return f0 if known else contour_in_range(r, frames, *range_of(f0)), frames
