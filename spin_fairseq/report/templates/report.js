"use strict";

/* Charts: drawn when they come near the screen, in the colours of the scheme, and anew when the scheme changes. */
const specs = JSON.parse(document.getElementById("charts").textContent);
const dark = matchMedia("(prefers-color-scheme: dark)");

function resolve(value, style) {
  if (typeof value === "string" && value.startsWith("var(--"))
    return style.getPropertyValue(value.slice(4, -1)).trim();
  if (Array.isArray(value)) return value.map(item => typeof item === "number" ? item : resolve(item, style));
  if (value && typeof value === "object")
    return Object.fromEntries(Object.entries(value).map(([key, item]) => [key, resolve(item, style)]));
  return value;
}

function layoutOf(spec, element, style) {
  const of = name => style.getPropertyValue(name).trim();
  const axis = {
    gridcolor: of("--line"), linecolor: of("--line"), zeroline: false, ticks: "outside", ticklen: 3,
    tickcolor: of("--line"), automargin: true, fixedrange: true,
  };
  const own = resolve(spec.layout, style);
  return {
    ...own,
    paper_bgcolor: "rgba(0,0,0,0)", plot_bgcolor: "rgba(0,0,0,0)",
    font: {family: "system-ui, sans-serif", size: 11, color: of("--soft")},
    margin: {l: 40, r: 8, t: 6, b: 34}, height: own.height || element.clientHeight,
    hovermode: own.hovermode || "x unified",
    hoverlabel: {bgcolor: of("--card"), bordercolor: of("--line"), font: {color: of("--text"), size: 12}},
    showlegend: false,
    xaxis: {...axis, ...own.xaxis, title: {standoff: 6, ...(own.xaxis || {}).title}},
    yaxis: {...axis, ...own.yaxis},
  };
}

function draw(element) {
  const spec = specs[element.dataset.chart], style = getComputedStyle(document.documentElement);
  if (spec.layout.height) element.style.height = spec.layout.height + "px";
  Plotly.react(element, resolve(spec.traces, style), layoutOf(spec, element, style), {displayModeBar: false, responsive: true});
  element.dataset.drawn = "";
}

const charts = [...document.querySelectorAll(".chart")];
const near = new IntersectionObserver(entries => entries.forEach(entry => {
  if (!entry.isIntersecting) return;
  near.unobserve(entry.target);
  draw(entry.target);
}), {rootMargin: "400px"});
charts.forEach(element => near.observe(element));
dark.addEventListener("change", () => charts.filter(element => "drawn" in element.dataset).forEach(draw));
addEventListener("beforeprint", () => charts.filter(element => !("drawn" in element.dataset)).forEach(draw));

/* On a phone, one set of metrics is open at first. */
if (innerWidth < 640) document.querySelectorAll(".set").forEach((set, n) => { set.open = n === 0; });

/* Utterances: one at a time, its players, and one playhead over all its strips. */
const utterances = [...document.querySelectorAll(".utterance")];
const buttons = [...document.querySelectorAll(".choices button")];
const tip = document.getElementById("tip");
const players = [...document.querySelectorAll("audio")];

function show(index) {
  utterances.forEach((utterance, n) => { utterance.hidden = n !== index; });
  buttons.forEach((button, n) => button.setAttribute("aria-pressed", n === index));
  players.forEach(player => player.pause());
  name(utterances[index]);
}

/* A box says its label where there is room for it. */
function name(utterance) {
  for (const strip of utterance.querySelectorAll(".strip")) {
    const pixels = strip.clientWidth;
    for (const box of strip.children) {
      const room = parseFloat(box.style.width) / 100 * pixels;
      box.classList.toggle("named", room > 7 * box.textContent.length + 3);
    }
  }
}

function follow(utterance) {
  const seconds = Number(utterance.dataset.seconds);
  const tracks = utterance.querySelector(".tracks"), scroller = tracks.parentElement;
  const playhead = utterance.querySelector(".playhead"), pointer = utterance.querySelector(".pointer");
  const own = [...utterance.querySelectorAll("audio")];
  const strips = [...utterance.querySelectorAll(".strip")];
  let current = own[0];

  const place = () => {
    playhead.style.left = 100 * current.currentTime / seconds + "%";
    playhead.classList.add("shown");
  };
  const run = () => {
    if (current.paused) return;
    place();
    const x = playhead.offsetLeft - scroller.scrollLeft;
    if (x < 0 || x > scroller.clientWidth) scroller.scrollLeft = playhead.offsetLeft - 20;
    requestAnimationFrame(run);
  };
  for (const player of own) {
    player.addEventListener("play", () => {
      players.forEach(other => other !== player && other.pause());
      current = player;
      run();
    });
    for (const event of ["timeupdate", "seeked"])
      player.addEventListener(event, () => { if (player === current) place(); });
  }

  const timeAt = event => {
    const box = tracks.getBoundingClientRect();
    return Math.min(1, Math.max(0, (event.clientX - box.left) / box.width)) * seconds;
  };
  tracks.addEventListener("click", event => {
    const of = event.target.closest("[data-view]");
    const player = of ? own[of.dataset.view] : current;
    current = player;
    player.currentTime = timeAt(event);
    place();
    player.play().catch(() => {});
  });
  const point = event => {
    const time = timeAt(event);
    pointer.style.left = 100 * time / seconds + "%";
    pointer.classList.add("shown");
    const under = event.target.closest("i");
    const lines = [[time.toFixed(2) + " s", ""]];
    for (const strip of strips) {
      const box = [...strip.children].find(one => time >= one.dataset.from && time < one.dataset.to);
      if (!box) continue;
      const span = under === box ? `, ${box.dataset.from} to ${box.dataset.to} s` : "";
      lines.push([strip.dataset.title, box.dataset.words + span]);
    }
    tip.replaceChildren(...lines.map(([title, words]) => {
      const line = document.createElement("div"), strong = document.createElement("b");
      strong.textContent = title;
      line.append(strong, " ", words);
      return line;
    }));
    tip.hidden = false;
    const right = event.clientX + 16 + tip.offsetWidth > document.documentElement.clientWidth;
    tip.style.left = Math.max(4, right ? event.clientX - tip.offsetWidth - 12 : event.clientX + 16) + "px";
    tip.style.top = Math.max(4, Math.min(event.clientY + 16, innerHeight - tip.offsetHeight - 4)) + "px";
  };
  const leave = () => {
    tip.hidden = true;
    pointer.classList.remove("shown");
  };
  tracks.addEventListener("pointermove", point);
  tracks.addEventListener("pointerdown", point);
  // A finger has left when it is lifted; what it pointed at stays until it points elsewhere.
  tracks.addEventListener("pointerleave", event => { if (event.pointerType !== "touch") leave(); });
  document.addEventListener("pointerdown", event => { if (!tracks.contains(event.target)) leave(); });
}

utterances.forEach(follow);
buttons.forEach((button, index) => button.addEventListener("click", () => show(index)));
if (utterances.length) {
  const slider = document.querySelector(".zoom input");
  const visible = () => utterances.filter(utterance => !utterance.hidden).forEach(name);
  const zoom = () => {
    document.documentElement.style.setProperty("--zoom", slider.value);
    visible();
  };
  if (innerWidth < 640) slider.value = 3;  // a second of speech needs some room
  slider.addEventListener("input", zoom);
  addEventListener("resize", visible);
  show(0);
  zoom();
}
