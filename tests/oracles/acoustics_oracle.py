"""A room and noise, sample by sample."""

import math


def in_room(wave, room):
    """Each sample of the wave sets off the impulse response; what comes after the end is cut, the level is as before."""
    heard = [0.0] * len(wave)
    for place, sample in enumerate(wave):
        for delay, answer in enumerate(room):
            if place + delay < len(wave):
                heard[place + delay] += float(sample) * float(answer)
    before, after = (sum(float(x) ** 2 for x in samples) for samples in (wave, heard))
    return [x * math.sqrt(before / after) for x in heard] if after else heard


def with_noise(wave, noise, snr_db):
    """The noise so loud that the ratio of the mean squares is snr_db; nothing is added to or by silence."""
    speech, level = (sum(float(x) ** 2 for x in samples) / len(samples) for samples in (wave, noise))
    if not speech or not level:
        return [float(x) for x in wave]
    gain = math.sqrt(speech / (level * 10 ** (snr_db / 10)))
    return [float(x) + gain * float(y) for x, y in zip(wave, noise)]


def view(wave, noise, snr_db, room):
    """noise, room: empty for none. A sum above full scale is scaled down as a whole."""
    if not len(noise) and not len(room):
        return [float(x) for x in wave]
    heard = in_room(wave, room) if len(room) else [float(x) for x in wave]
    heard = with_noise(heard, noise, snr_db) if len(noise) else heard
    peak = max(1.0, *(abs(x) for x in heard))
    return [x / peak for x in heard]
