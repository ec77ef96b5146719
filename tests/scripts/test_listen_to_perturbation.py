import pytest

from tests.headless_chromium import Page, find_chromium
from tests.scripts.loading import main_of

pytest.importorskip("parselmouth")
pytest.importorskip("matplotlib")
listen = main_of("listen_to_perturbation")

PLAYERS = """Promise.all([...document.querySelectorAll("audio")].map(async player => {
  if (!(player.duration > 0))
    await new Promise((done, fail) => { player.onloadedmetadata = done; player.onerror = () => fail("no metadata"); });
  const bytes = await (await fetch(player.src)).arrayBuffer();
  const sound = await new OfflineAudioContext(1, 16000, 16000).decodeAudioData(bytes);
  return {duration: player.duration, decoded: sound.duration,
          loudest: Math.max(...sound.getChannelData(0).map(Math.abs))};
}))"""
PICTURES = """[...document.images].map(image => image.naturalWidth * image.naturalHeight)"""
COLOURS = "[getComputedStyle(document.body).color, getComputedStyle(document.body).backgroundColor]"


@pytest.fixture(scope="module")
def html(speech_folder, tmp_path_factory):
    path = tmp_path_factory.mktemp("listen") / "page" / "listen.html"
    listen(
        [str(speech_folder.data / "dev.tsv"), "--out", str(path), "--utterances", "2", "--draws", "1", "--seconds", "1"]
    )
    return path


def test_the_page_stands_alone(html):
    text = html.read_text()
    assert text.count("<audio") == text.count("<img") == 2 * 3
    assert "http:" not in text and "https:" not in text and 'src="data:' in text
    assert not list(html.parent.glob("*.part"))


@pytest.fixture(scope="module")
def page(html, tmp_path_factory):
    program = find_chromium()
    if program is None:
        pytest.skip("no Chromium: apt install chromium-headless-shell, or set CHROMIUM to the program")
    with Page(program, tmp_path_factory.mktemp("profile")) as page:
        page.open(html.as_uri())
        yield page


def test_players_have_sound(page):
    players = page.evaluate(PLAYERS)
    assert len(players) == 6
    for player in players:
        assert player["duration"] == pytest.approx(1.0, abs=0.02) and player["decoded"] == pytest.approx(1.0, abs=0.02)
        assert player["loudest"] > 0.05
    assert page.problems == []


def test_a_click_into_a_picture_plays_from_there(page):
    time = page.evaluate("""(async () => {
      const picture = document.querySelector(".picture"), box = picture.getBoundingClientRect();
      const player = picture.closest("figure").querySelector("audio");
      player.play = () => Promise.resolve();
      picture.dispatchEvent(new MouseEvent("click", {clientX: box.left + box.width / 2}));
      return player.currentTime;
    })()""")
    assert time == pytest.approx(0.5, abs=0.02) and page.problems == []


@pytest.mark.parametrize("width", [360, 1280])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_it_renders_on_any_screen(page, width, scheme):
    page.command("Emulation.setDeviceMetricsOverride", width=width, height=800, deviceScaleFactor=1, mobile=width < 500)
    page.command("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": scheme}])
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    assert min(page.evaluate(PICTURES)) > 1000
    assert page.evaluate("document.querySelectorAll('polyline.f0').length") >= 6
    assert page.evaluate("document.querySelectorAll('polyline.dots').length") > 100
    text, background = ([int(n) for n in colour[4:-1].split(",")] for colour in page.evaluate(COLOURS))
    darker, lighter = sorted((sum(text), sum(background)))
    assert lighter - darker > 500 and (sum(background) > sum(text)) == (scheme == "light")
    assert page.problems == []


def test_browser_notices_errors(page, tmp_path):
    """The other tests would say nothing if it did not."""
    broken = tmp_path / "broken.html"
    broken.write_text("<script>console.error('seen'); nothing.there()</script>")
    with Page(find_chromium(), tmp_path / "profile") as other:
        other.open(broken.as_uri())
        assert any("seen" in text for text in other.problems) and any("nothing" in text for text in other.problems)


def test_errors_name_what_is_wrong(tmp_path):
    for arguments, words in (
        ([str(tmp_path / "none")], "neither a manifest"),
        ([str(tmp_path), "--draws", "0"], "--draws"),
    ):
        with pytest.raises(SystemExit, match=words):
            listen([*arguments, "--out", str(tmp_path / "page.html")])
    assert not list(tmp_path.iterdir())


def test_help_starts_with_an_example(capsys):
    with pytest.raises(SystemExit):
        listen(["--help"])
    assert capsys.readouterr().out.startswith("usage: python scripts/listen_to_perturbation.py ")
