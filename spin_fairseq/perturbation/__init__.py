"""Speaker perturbation: the same words in another voice. Knows nothing of fairseq.

    marks = find_pitch_marks(wave, 16000, pitch_floor=75, pitch_ceiling=300)           # once; may be kept
    other = change_speaker(wave, 16000, marks=marks, formant_ratio=1.2, pitch_ratio=0.7, range_ratio=1.3)
    other = equalize(other, 16000, gains_db=gains, q=q)

What Praat's "Change gender" does, done anew, for one wave or a batch, on the CPU and on any device:

 1. The wave is brought down to about 8 kHz and cut into Hann windows of three longest periods, every 10 ms.
 2. The autocorrelation of each window, over that of the Hann window itself, peaks at the period (Boersma 1993).
 3. Viterbi's algorithm picks one peak a frame, or "voiceless": strong peaks, few octave jumps, few changes of voicing.
 4. The contour is integrated to a phase; each frame adds where in the period its energy lies, averaged over neighbours.
 5. Pitch marks are where the phase passes whole numbers, up to half a period beyond an interval's frames. So far nothing
    depends on the draw.
 6. A new contour: f0 = median * pitch_ratio * (1 + (f0 / median - 1) * range_ratio), of the same duration; f0 is taken
    over three periods, as jitter is no intonation.
 7. Its phase, integrated from mark to mark, tells where grains go: one a new period in voiced intervals, each taken from
    around the nearest mark; elsewhere one every 8 to 12 ms, taken from where it lies.
 8. The wave is read `formant_ratio` times as fast by a windowed sinc, low-passed where that would alias: all resonances
    move by the ratio, and the grains, cut from it, last as long as before.
 9. Grains are laid down with Hann halves that reach to the next grain, or one source period (as it is read) where that
    is nearer, so that no second pulse comes through (PSOLA; Moulines and Charpentier 1990).
10. Ten biquads change the channel (equalize). The recipe clips afterwards.

Departures from Praat, on purpose: the contour is not 11 to 20 ms early where formants move; frames whose f0 times the
formant ratio passes the ceiling stay voiced; range ratios that would take f0 below zero are held at a quarter of the new
median instead of failing; the pitch is measured every 10 ms at 8 kHz, with a parabola in place of a sinc; marks follow
the energy of the periods, not the correlation of each with the last; neighbouring grains always sum to one between
voiced and voiceless; and voiceless intervals depend on `seed` alone. Where all ratios are 1 the wave comes back as it was.

On the CPU the inner loops are compiled by numba (`kernels`); other devices run their torch twins, in which no shape
depends on data, so that nothing waits.
"""

from .backends import BACKENDS, build_backend
from .draws import SpeakerDraw, Voice, draw_speaker, draw_speaker_of
from .equalizer import equalize
from .pitch_marks import PitchMarks, find_pitch_marks
from .speaker import change_speaker

__all__ = [
    "BACKENDS", "PitchMarks", "SpeakerDraw", "Voice", "build_backend", "change_speaker", "draw_speaker",
    "draw_speaker_of", "equalize", "find_pitch_marks",
]  # fmt: skip
