#!/usr/bin/env python3
"""One page to hear and see the native perturbation beside Praat's: a single HTML file that needs nothing else.

    python scripts/listen_to_perturbation.py examples/demo/data/dev --speaker-pitch examples/demo/data/SPEAKERS.TXT \\
        --out outputs/listen.html

For some utterances, of different speakers, and some draws each: the original, Praat's and the native engine's wave, each
with a player, its spectrogram, formants F1 to F3 (dots) and f0 (line), as Praat measures them. The equaliser is off.
Needs praat-parselmouth and matplotlib.
"""

import argparse
import html
import sys
from pathlib import Path

import numpy as np

from spin_fairseq.speech.audio import SAMPLE_RATE, read_audio
from spin_fairseq.speech.folder import manifest_of
from spin_fairseq.speech.speaker_pitch import load_speaker_pitch
from spin_fairseq.errors import ConfigError, PerturbationError, SpinError
from spin_fairseq.files import write_text
from measuring import voice_measures as measures
from spin_fairseq.perturbation import draw_speaker, native, praat
from spin_fairseq.report.media import loudest_level, sound, spectrogram
from spin_fairseq.report.utterances import spread_over_speakers

USAGE = "python scripts/listen_to_perturbation.py AUDIO --speaker-pitch SPEAKERS.TXT --out listen.html [options]"
ENGINES = {"Praat": praat, "native": native}

PAGE = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>The native perturbation beside Praat's</title>
<style>
:root { color-scheme: light dark; --text: #1d1d1f; --soft: #5b5f66; --page: #fff; --line: #d9dce1; --f0: #c2410c; }
@media (prefers-color-scheme: dark) {
  :root { --text: #e8e8ea; --soft: #a4a9b1; --page: #17181a; --line: #3a3d42; --f0: #fb923c; }
}
* { box-sizing: border-box; }
body { margin: 0 auto; max-width: 76rem; padding: 1rem; font: 1rem/1.45 system-ui, sans-serif;
  color: var(--text); background: var(--page); }
h1 { font-size: 1.4rem; margin: .2rem 0; }
h2 { font-size: 1.1rem; margin: 2rem 0 0; border-top: 1px solid var(--line); padding-top: 1rem; overflow-wrap: anywhere; }
p { margin: .4rem 0; }
p { color: var(--soft); max-width: 60rem; }
h3 { font-size: 1rem; font-weight: 600; margin: 1rem 0 .2rem; }
.voices { display: grid; gap: 1rem; grid-template-columns: repeat(auto-fit, minmax(min(100%, 19rem), 1fr)); }
figure { margin: 0; min-width: 0; }
figcaption { color: var(--soft); font-size: .9rem; }
audio { width: 100%; height: 2.5rem; display: block; margin-bottom: .4rem; }
.picture { position: relative; height: 11rem; background: #000; cursor: pointer; }
.picture.f0 { height: 5rem; background: none; border: 1px solid var(--line); border-top: 0; }
.picture img, .picture svg { position: absolute; inset: 0; width: 100%; height: 100%; }
.picture img { image-rendering: auto; object-fit: fill; }
polyline { fill: none; stroke-width: 2; vector-effect: non-scaling-stroke; stroke-linejoin: round; }
polyline.dots { stroke: #fff; stroke-width: 3; stroke-linecap: round; }
polyline.f0 { stroke: var(--f0); }
polyline.before { stroke: var(--soft); stroke-width: 1; }
.at { position: absolute; top: 0; bottom: 0; width: 1px; background: #7dd3fc; left: 0; visibility: hidden; }
.axis { position: absolute; left: .25rem; font-size: .7rem; line-height: 1; color: #fff; opacity: .85; }
.f0 .axis { color: var(--soft); }
.top { top: .25rem; } .bottom { bottom: .25rem; }
</style>
</head>
<body>
<h1>The native perturbation beside Praat's</h1>
<p>$about</p>
$sections
<script>
const players = [...document.querySelectorAll("audio")];
for (const player of players) {
  const figure = player.closest("figure");
  const lines = [...figure.querySelectorAll(".at")];
  player.addEventListener("play", () => players.forEach(other => other !== player && other.pause()));
  player.addEventListener("timeupdate", () => lines.forEach(line => {
    line.style.visibility = "visible";
    line.style.left = 100 * player.currentTime / player.duration + "%";
  }));
  for (const picture of figure.querySelectorAll(".picture"))
    picture.addEventListener("click", event => {
      const box = picture.getBoundingClientRect();
      player.currentTime = player.duration * (event.clientX - box.left) / box.width;
      player.play();
    });
}
</script>
</body>
</html>
"""


def polylines(times, values, kind, scale):
    """SVG lines through the values, broken where they are NaN. scale: value -> 0 (bottom) to 1 (top); times: 0 to 1."""
    lines, current = [], []
    for time, value in zip(times, [*values, np.nan]):
        if np.isfinite(value) and 0 <= scale(value) <= 1:
            current.append(f"{1000 * time:.0f},{100 * (1 - scale(value)):.1f}")
        elif current:
            lines.append(current)
            current = []
    if current:
        lines.append(current)
    return "".join(
        f'<polyline class="{kind}" points="{" ".join(line * 2 if len(line) == 1 else line)}"/>' for line in lines
    )


def dots(times, values, top):
    """F1 to F3 as dots: lines without length, with round ends."""
    places = (
        f"{1000 * time:.0f},{100 * (1 - value / top):.1f}"
        for row in values for time, value in zip(times, row) if np.isfinite(value)
    )  # fmt: skip
    return "".join(f'<polyline class="dots" points="{place} {place}"/>' for place in places)


def figure(title, wave, pitch_range, loudest, before=None, formant_ratio=1.0, pitch_ratio=1.0):
    """-> (HTML of one wave, its f0). before: f0 of the original, drawn beside its own."""
    voice = measures.measure(wave, SAMPLE_RATE, pitch_range, np.zeros(0), formant_ratio, pitch_ratio)
    seconds = len(wave) / SAMPLE_RATE
    times = (np.arange(len(voice.f0)) - (len(voice.f0) - 1) / 2) * measures.STEP + seconds / 2
    voiced = times[voice.f0 > 0][::2]
    tracks = measures.measure(wave, SAMPLE_RATE, pitch_range, voiced, formant_ratio, pitch_ratio).formants

    lowest, highest = pitch_range[0] / 2, 2 * pitch_range[1]

    def scale(f0):
        return np.log(f0 / lowest) / np.log(highest / lowest)

    curves = ""
    if before is not None:
        own_times = (np.arange(len(before)) - (len(before) - 1) / 2) * measures.STEP + seconds / 2
        curves = polylines(own_times / seconds, np.where(before > 0, before, np.nan), "before", scale)
    curves += polylines(times / seconds, np.where(voice.f0 > 0, voice.f0, np.nan), "f0", scale)
    svg = '<svg viewBox="0 0 1000 100" preserveAspectRatio="none" aria-hidden="true">'
    page = f"""<figure>
<figcaption>{html.escape(title)}</figcaption>
<audio controls preload="metadata" src="{sound(wave)}" aria-label="{html.escape(title)}"></audio>
<div class="picture"><img src="{spectrogram(wave, loudest)}" alt="spectrogram of {html.escape(title)}">
{svg}{dots(voiced / seconds, tracks, SAMPLE_RATE / 2)}</svg>
<span class="axis top">8 kHz</span><span class="axis bottom">0</span><span class="at"></span></div>
<div class="picture f0">{svg}{curves}</svg>
<span class="axis top">{highest:.0f} Hz</span><span class="axis bottom">{lowest:.0f} Hz</span><span class="at"></span></div>
</figure>"""
    return page, voice.f0


def section(utterance, wave, pitch_range, draws):
    """HTML of one utterance: the original, and each draw by each engine. Raises PerturbationError."""
    loudest = loudest_level(wave)
    first, f0 = figure("original", wave, pitch_range, loudest)
    parts = [f'<h2>{html.escape(utterance)}</h2>\n<div class="voices">\n{first}\n</div>']
    for draw in draws:
        words = f"formants × {draw.formant_ratio:.2f}, pitch × {draw.pitch_ratio:.2f}, range × {draw.range_ratio:.2f}"
        parts.append(f'<h3>{words}</h3>\n<div class="voices">')
        for name, engine in ENGINES.items():
            changed = engine.change_speaker(wave, SAMPLE_RATE, pitch_range, draw)
            parts.append(figure(name, changed, pitch_range, loudest, f0, draw.formant_ratio, draw.pitch_ratio)[0])
        parts.append("</div>")
    return "\n".join(parts)


def main(argv=None):
    parser = argparse.ArgumentParser(
        usage=USAGE, description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("audio", help="folder of audio or manifest (.tsv, .json)")
    parser.add_argument("--speaker-pitch", help="SPEAKERS.TXT, spk2info.dict or a table; default: 75 to 400 Hz for all")
    parser.add_argument("--out", type=Path, default=Path("outputs/listen.html"), help="file (default %(default)s)")
    parser.add_argument("--utterances", type=int, default=4, help="each of another speaker (default 4)")
    parser.add_argument("--draws", type=int, default=2, help="of each utterance (default 2)")
    parser.add_argument("--seconds", type=float, default=4.0, help="of each utterance at most (default 4)")
    parser.add_argument("--seed", type=int, default=0, help="of the draws")
    args = parser.parse_args(argv)
    try:
        if min(args.utterances, args.draws) < 1 or args.seconds < 0.5:
            raise ConfigError("--utterances and --draws must be 1 or more, --seconds 0.5 or more")
        measures.parselmouth_or_error()
        native.check_installed()
        pitch = load_speaker_pitch(args.speaker_pitch)
        manifest = manifest_of(args.audio)
        rng = np.random.default_rng(args.seed)
        sections = []
        for i in spread_over_speakers(manifest, args.utterances):
            wave = read_audio(manifest.path(i))[: round(args.seconds * SAMPLE_RATE)]
            draws = [draw_speaker(rng) for _ in range(args.draws)]
            try:
                pitch_range = pitch.range(manifest.speaker(i)) or praat.WIDE_RANGE
                sections.append(section(manifest.utterance_id(i), wave, pitch_range, draws))
            except PerturbationError as error:
                raise PerturbationError(f"{manifest.path(i)}: {error}") from None
    except SpinError as error:
        sys.exit(f"error: {error}")
    about = (
        "Spectrograms with formants F1 to F3 (dots), and f0 below (the original's thin), as Praat measures them. "
        "Click into a picture to hear it from there. The equaliser is off."
    )
    page = PAGE.replace("$about", about).replace("$sections", "\n".join(sections))
    write_text(args.out, page, ConfigError)
    print(f"{args.out}: {len(sections)} utterances, {args.out.stat().st_size / 1e6:.1f} MB")


if __name__ == "__main__":
    main()
