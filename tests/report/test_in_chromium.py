"""The page in a browser: what is seen, heard and clicked, and that it needs nothing but itself."""

import json

import numpy as np
import pytest

from spin_fairseq.report.page import write_report
from tests.headless_chromium import Page, find_chromium
from tests.report.small_report import make_results

SECONDS = 1.1
SOUNDS = """Promise.all([...document.querySelectorAll("audio")].map(async player => {
  if (!(player.duration > 0))
    await new Promise((done, fail) => { player.onloadedmetadata = done; player.onerror = () => fail("no metadata"); });
  const bytes = await (await fetch(player.src)).arrayBuffer();
  const sound = await new OfflineAudioContext(1, 16000, 16000).decodeAudioData(bytes);
  return {duration: player.duration, decoded: sound.duration, loudest: Math.max(...sound.getChannelData(0).map(Math.abs))};
}))"""
DRAW = "charts.filter(one => !('drawn' in one.dataset)).forEach(draw)"
CLICK = """(where, share) => {
  const box = where.getBoundingClientRect();
  const at = {clientX: box.left + share * box.width, clientY: box.top + box.height / 2, bubbles: true};
  for (const kind of ["pointerdown", "pointermove"]) where.dispatchEvent(new PointerEvent(kind, at));
  where.dispatchEvent(new MouseEvent("click", at));
}"""


@pytest.fixture(scope="module")
def made(run_folder, speech_folder, tmp_path_factory):
    """The page's file, and what it holds."""
    folder = tmp_path_factory.mktemp("page")

    def change(content):
        content["models"][0]["name"] = "<b>spin</b> & a rather long name of a model that has to go somewhere"

    results = make_results(folder / "results", speech_folder, change=change)
    content = write_report([run_folder, results], folder / "report.html", utterances=3, seconds=SECONDS)
    return folder / "report.html", content


@pytest.fixture(scope="module")
def page(made, tmp_path_factory):
    program = find_chromium()
    if program is None:
        pytest.skip("no Chromium: apt install chromium-headless-shell, or set CHROMIUM to the program")
    with Page(program, tmp_path_factory.mktemp("profile")) as page:
        page.requests = []
        note = page._note

        def noting(message):
            if message.get("method") == "Network.requestWillBeSent":
                page.requests.append(message["params"]["request"]["url"])
            note(message)

        page._note = noting
        page.command("Network.enable")
        page.command("Emulation.setDeviceMetricsOverride", width=1280, height=900, deviceScaleFactor=1, mobile=False)
        page.open(made[0].as_uri())
        page.evaluate(DRAW)
        yield page


def test_it_asks_for_nothing_and_complains_of_nothing(page, made):
    assert page.problems == []
    assert {url.split(":")[0] for url in page.requests} <= {"file", "data", "blob"}
    assert [url for url in page.requests if url.startswith("file:")] == [made[0].as_uri()]


def test_the_network_would_be_refused(page):
    """What it has asked for may depend on the day; what it may ask for does not."""
    refused = page.evaluate("""(async () => {
      const violations = [];
      addEventListener("securitypolicyviolation", event => violations.push(event.effectiveDirective));
      const image = new Image();
      image.src = "http://127.0.0.1:9/x.png";
      await new Promise(done => { image.onerror = done; });
      await fetch("http://127.0.0.1:9/").catch(() => {});
      const frame = document.body.appendChild(document.createElement("iframe"));
      frame.src = "http://127.0.0.1:9/";
      await new Promise(done => setTimeout(done, 100));
      frame.remove();
      return violations;
    })()""")
    assert sorted(refused) == ["connect-src", "frame-src", "img-src"]
    page.problems.clear()  # those three, as it says


def test_every_chart_is_drawn(page, made):
    content = made[1]
    lines = page.evaluate("charts.map(one => one.querySelectorAll('.scatterlayer .trace, .heatmaplayer image').length)")
    drawn = [*content["heat_maps"], content["codebook"], *content["layers"], *content["training"]]
    assert lines == [len(chart.traces) for chart in drawn] and min(lines) >= 1
    sizes = page.evaluate("charts.map(one => [one.clientWidth, one.querySelector('svg').clientWidth])")
    assert all(width == inner > 200 for width, inner in sizes)


def test_a_model_has_one_colour_everywhere(page):
    colours = page.evaluate("""(() => {
      const of = (element, what, pseudo) => getComputedStyle(element, pseudo)[what];
      const curve = charts.find(one => one.getAttribute("aria-label") === "Use of the codebook");
      return [of(document.querySelector(".models .chip"), "backgroundColor", "::before"),
              of(document.querySelector(".measure .length"), "backgroundColor"),
              of(document.querySelectorAll(".track-name .chip")[0], "backgroundColor", "::before"),
              of(curve.querySelector(".scatterlayer .trace path"), "stroke")];
    })()""")
    assert len(set(colours)) == 1 and colours[0].startswith("rgb")


def test_sounds_are_there(page):
    sounds = page.evaluate(SOUNDS)
    assert len(sounds) == 6
    for sound in sounds:
        assert sound["duration"] == pytest.approx(SECONDS, abs=0.03) and sound["decoded"] == pytest.approx(
            SECONDS, abs=0.03
        )
        assert sound["loudest"] > 0.05
    assert page.problems == []


def edges(page, selector):
    """[(words, left, right)] in pixels, from the left of the tracks; and their width."""
    return page.evaluate(f"""(() => {{
      const tracks = document.querySelector(".utterance:not([hidden]) .tracks"), box = tracks.getBoundingClientRect();
      return {{width: box.width, boxes: [...tracks.querySelectorAll("{selector}")].map(one => {{
        const own = one.getBoundingClientRect();
        return [one.dataset.words, Number(one.dataset.from), Number(one.dataset.to), own.left - box.left, own.right - box.left];
      }})}};
    }})()""")


@pytest.mark.parametrize("zoom", [1, 4])
def test_strips_line_up_in_time(page, made, zoom):
    page.evaluate(f"""(() => {{
      const slider = document.querySelector(".zoom input");
      slider.value = {zoom};
      slider.dispatchEvent(new Event("input"));
    }})()""")
    utterance = made[1]["utterances"][0]
    pictures = edges(page, ".track")
    assert all(left == pytest.approx(0, abs=0.5) and right == pytest.approx(pictures["width"], abs=0.5)
               for *_, left, right in pictures["boxes"])  # fmt: skip
    found = edges(page, ".strip i")
    expected = [box for strip in utterance.strips for box in strip.boxes]
    assert len(found["boxes"]) == len(expected) > 20 and found["width"] > 600 * zoom
    for (words, begin, end, left, right), box in zip(found["boxes"], expected):
        assert (words, begin, end) == (box.words, round(box.begin, 3), round(box.end, 3))
        assert left == pytest.approx(box.begin / utterance.seconds * found["width"], abs=0.6)
        assert right == pytest.approx(box.end / utterance.seconds * found["width"], abs=0.6)
    # The fixture's true units last as long as the phones, 0.2 s: these must begin under a phone's left edge.
    phones = np.array([left for words, _, _, left, _ in found["boxes"] if words.startswith("phone")])
    starts = [left for words, begin, end, left, _ in found["boxes"] if words.startswith("unit") and end - begin > 0.19]
    assert len(starts) >= 2 and all(np.abs(phones - left).min() < 1 for left in starts)


def test_a_click_seeks_and_the_playhead_stands_there(page):
    for view, share in ((1, 0.5), (0, 0.25)):
        state = page.evaluate(f"""(async () => {{
          const utterance = document.querySelector(".utterance:not([hidden])");
          const players = [...utterance.querySelectorAll("audio")];
          players.forEach(player => {{ player.play = () => Promise.resolve(); }});
          ({CLICK})(utterance.querySelector(".spectrogram[data-view='{view}']"), {share});
          players.forEach(player => {{ delete player.play; }});
          const tracks = utterance.querySelector(".tracks").getBoundingClientRect();
          const playhead = utterance.querySelector(".playhead"), line = playhead.getBoundingClientRect();
          return {{times: players.map(player => player.currentTime), place: (line.left + 1 - tracks.left) / tracks.width,
                   height: line.height / tracks.height, shown: getComputedStyle(playhead).visibility,
                   tip: document.getElementById("tip").textContent, hidden: document.getElementById("tip").hidden}};
        }})()""")
        assert state["times"][view] == pytest.approx(share * SECONDS, abs=0.02) and state["shown"] == "visible"
        assert state["place"] == pytest.approx(share, abs=0.01) and state["height"] == pytest.approx(1, abs=0.01)
        assert not state["hidden"] and f"{share * SECONDS:.2f} s" in state["tip"] and "Phone labels" in state["tip"]


def test_hovering_says_label_and_time(page, made):
    strip = made[1]["utterances"][0].strips[1]
    box = max(strip.boxes, key=lambda one: one.width)
    tip = page.evaluate(f"""(() => {{
      const strip = document.querySelectorAll(".utterance:not([hidden]) .strip")[1];
      const own = strip.children[{strip.boxes.index(box)}], box = own.getBoundingClientRect();
      own.dispatchEvent(new PointerEvent("pointermove", {{clientX: box.left + box.width / 2, clientY: box.top + 2, bubbles: true}}));
      return document.getElementById("tip").innerText;
    }})()""")
    assert f"{box.words}, {round(box.begin, 3)} to {round(box.end, 3)} s" in tip and "<b>spin</b> & a rather" in tip


def test_playing_moves_the_playhead_and_stops_the_other(page):
    expression = """(async () => {
      const utterance = document.querySelector(".utterance:not([hidden])");
      const [original, perturbed] = utterance.querySelectorAll("audio"), playhead = utterance.querySelector(".playhead");
      original.currentTime = 0;
      await original.play();
      const moved = new Promise(done => {
        const wait = () => original.currentTime > 0.2 || original.ended ? done([original.currentTime, parseFloat(playhead.style.left)]) : requestAnimationFrame(wait);
        wait();
      });
      const [time, place] = await moved;
      await perturbed.play();
      const paused = original.paused;
      perturbed.pause();
      return {time, place, paused};
    })()"""
    found = page.command(
        "Runtime.evaluate", expression=expression, awaitPromise=True, returnByValue=True, userGesture=True
    )
    assert "exceptionDetails" not in found, json.dumps(found)
    state = found["result"]["value"]
    assert state["time"] > 0.2 and state["paused"]
    assert state["place"] == pytest.approx(100 * state["time"] / SECONDS, abs=12)  # a frame or two behind
    assert page.problems == []


def test_buttons_choose_the_utterance(page):
    seen = page.evaluate("""buttons.map(button => {
      button.click();
      return [utterances.map(one => one.hidden), buttons.map(one => one.getAttribute("aria-pressed"))];
    })""")
    for chosen, (hidden, pressed) in enumerate(seen):
        assert hidden == [n != chosen for n in range(3)] and pressed == [str(n == chosen).lower() for n in range(3)]
    page.evaluate("buttons[0].click()")


@pytest.mark.parametrize("width", [320, 390, 820, 1600])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_it_fits_any_screen_in_both_schemes(page, made, width, scheme):
    page.command("Emulation.setDeviceMetricsOverride", width=width, height=800, deviceScaleFactor=1, mobile=width < 500)
    page.command("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": scheme}])
    page.open(made[0].as_uri())
    page.evaluate(DRAW)
    page.evaluate("document.querySelectorAll('details').forEach(one => { one.open = true; })")
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    text, background, card, chart = page.evaluate("""(() => {
      const of = (element, what) => getComputedStyle(element)[what];
      return [of(document.body, "color"), of(document.body, "backgroundColor"), of(document.querySelector(".card"), "backgroundColor"),
              of(document.querySelector(".xtick text"), "fill")];
    })()""")
    text, background, card, chart = (
        sum(map(int, colour[colour.index("(") + 1 : -1].split(",")[:3])) for colour in (text, background, card, chart)
    )
    assert abs(text - background) > 500 and (background > text) == (scheme == "light")
    assert (chart < card) == (scheme == "light") and abs(chart - card) > 200  # charts follow
    assert page.problems == []


def test_charts_follow_when_the_scheme_changes(page):
    colours = []
    for scheme in ("light", "dark", "light"):
        page.command("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": scheme}])
        page.evaluate("new Promise(done => setTimeout(done, 300))")
        colours.append(page.evaluate("getComputedStyle(document.querySelector('.xtick text')).fill"))
    assert colours[0] == colours[2] != colours[1]
