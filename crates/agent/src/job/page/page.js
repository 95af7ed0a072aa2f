"use strict";

// The run, as the recorder wrote it. What it says of a process is a list, see `Row` in page.rs; text of
// somebody else's becomes text of the page and nothing else: `textContent` alone.
const run = JSON.parse(document.getElementById("data").textContent);
const [ID, PARENT, BEGIN, END, KIND, STATE, TITLE, COMMAND, USER, CPU] = [0, 1, 2, 3, 4, 5, 6, 7, 8, 9];
const FAILED = 1, ALIVE = 2;
const processes = run.processes;
const text = (index) => run.texts[index] ?? "?";

const byId = (id) => document.getElementById(id);
function element(name, content, className) {
  const made = document.createElement(name);
  if (content !== undefined) made.textContent = content;
  if (className) made.className = className;
  return made;
}

// Nanoseconds for a person.
function duration(ns) {
  if (ns === null || ns === undefined) return "?";
  if (ns < 1e3) return `${ns} ns`;
  if (ns < 1e6) return `${(ns / 1e3).toFixed(ns < 1e5 ? 1 : 0)} µs`;
  if (ns < 1e9) return `${(ns / 1e6).toFixed(ns < 1e7 ? 2 : ns < 1e8 ? 1 : 0)} ms`;
  if (ns < 6e10) return `${(ns / 1e9).toFixed(ns < 1e10 ? 2 : 1)} s`;
  const seconds = Math.floor(ns / 1e9);
  const parts = [Math.floor(seconds / 3600), Math.floor(seconds / 60) % 60, seconds % 60];
  const padded = (number) => String(number).padStart(2, "0");
  return parts[0] ? `${parts[0]}h ${padded(parts[1])}m` : `${parts[1]}m ${padded(parts[2])}s`;
}
const since = (ns) => (ns > 0 ? `+${duration(ns)}` : "+0");
const count = (number, one, many) => `${number.toLocaleString("en")} ${number === 1 ? one : many}`;

// --- what is chosen: one process, in all parts of the page ---
let chosen = -1;
const rowsOf = new Map();
function choose(index, goes) {
  for (const row of rowsOf.get(chosen) ?? []) row.classList.remove("chosen");
  chosen = index;
  for (const row of rowsOf.get(chosen) ?? []) row.classList.add("chosen");
  story(index);
  if (goes) show(index);
  draw();
}
function rowFor(index, row) {
  row.classList.add("link");
  row.tabIndex = 0;
  row.addEventListener("click", () => choose(index, true));
  row.addEventListener("keydown", (event) => {
    if (event.key === "Enter") choose(index, true);
  });
  if (!rowsOf.has(index)) rowsOf.set(index, []);
  rowsOf.get(index).push(row);
}

// --- the head, the failures, the tables ---
const SHOWN_MAX = 200;
function fill(section, items, rowOf) {
  const body = section.querySelector("tbody");
  body.replaceChildren(...items.slice(0, SHOWN_MAX).map(rowOf));
  const more = section.querySelector(".more") ?? section.nextElementSibling;
  const rest = items.length - SHOWN_MAX;
  if (rest <= 0) return void (more.hidden = true);
  more.hidden = false;
  const button = element("button", `show ${count(rest, "more", "more")}`);
  button.addEventListener("click", () => {
    body.append(...items.slice(SHOWN_MAX).map(rowOf));
    more.hidden = true;
  });
  more.replaceChildren(button);
}

byId("headline").textContent = run.headline;
byId("headline").classList.toggle("bad", run.failed.length > 0);
byId("notes").append(...run.notes.map((note) => element("p", note)));
byId("when").textContent = `from ${run.begin} to ${run.end} (UTC), recorded by ${run.recorded_by}`;
byId("account").textContent = run.account;

if (run.failed.length) {
  byId("failures").hidden = false;
  fill(byId("failures"), run.failed, (index) => {
    const process = processes[index];
    const row = element("tr");
    row.append(
      element("td", text(process[STATE]), "bad"),
      element("td", text(process[TITLE])),
      element("td", process[PARENT] < 0 ? "?" : text(processes[process[PARENT]][TITLE])),
      element("td", since(process[END]), "number"),
      element("td", duration(process[END] - process[BEGIN]), "number"),
    );
    rowFor(index, row);
    return row;
  });
}

if (run.loads.length) {
  byId("loads").hidden = false;
  fill(byId("loads"), run.loads, ([path, by]) => {
    const row = element("tr");
    row.append(element("td", path), element("td", by < 0 ? "?" : text(processes[by][TITLE])));
    if (by >= 0) rowFor(by, row);
    return row;
  });
}

byId("work").textContent = run.work;
byId("chain").append("Waited for: ");
run.chain.forEach(([index, ns], place) => {
  if (place) byId("chain").append(" > ");
  const link = element("button", `${index < 0 ? "?" : text(processes[index][TITLE])} ${duration(ns)}`);
  if (index >= 0) link.addEventListener("click", () => choose(index, true));
  byId("chain").append(link);
});
byId("chain").hidden = run.chain.length === 0;

const columns = [
  ["program", (one) => one[0], (one) => one[0]],
  ["count", (one) => one[1], (one) => one[1].toLocaleString("en")],
  ["wall", (one) => one[2], (one) => duration(one[2])],
  ["CPU", (one) => one[3] ?? -1, (one) => duration(one[3])],
  ["longest", (one) => one[4], (one) => duration(one[4])],
  ["which was", (one) => one[5], (one) => one[5]],
];
const isNumber = (column) => column > 0 && column < 5;
let order = 2, rises = false;
function programs() {
  const key = columns[order][1];
  const sorted = [...run.programs].sort((a, b) => {
    const [x, y] = [key(a), key(b)];
    return (typeof x === "number" ? x - y : x.localeCompare(y)) * (rises ? 1 : -1);
  });
  fill(byId("programs"), sorted, (program) => {
    const row = element("tr");
    row.append(...columns.map(([, , shown], column) =>
      element("td", shown(program), isNumber(column) ? "number" : "")));
    row.title = "Find its processes";
    row.classList.add("link");
    row.addEventListener("click", () => search(program[0]));
    return row;
  });
  byId("programs").querySelectorAll("th button").forEach((button, column) => {
    button.textContent = columns[column][0] + (column === order ? (rises ? " ▴" : " ▾") : "");
  });
}
byId("programs").querySelector("tr").append(...columns.map((_, column) => {
  const head = element("th", undefined, isNumber(column) ? "number" : "");
  const button = element("button");
  button.addEventListener("click", () => {
    rises = column === order ? !rises : !isNumber(column);
    order = column;
    programs();
  });
  head.append(button);
  return head;
}));
programs();

// --- the story of one process ---
const children = processes.map(() => []);
processes.forEach((process, index) => {
  if (process[PARENT] >= 0) children[process[PARENT]].push(index);
});
const STORY_CHILDREN_MAX = 40;
function story(index) {
  const process = processes[index];
  if (!process) return byId("story").replaceChildren(element("p", "Choose a process: in the timeline or in a table.", "hint"));
  const list = element("dl");
  const entry = (name, ...content) => {
    const told = element("dd");
    told.append(...content);
    list.append(element("dt", name), told);
  };
  const link = (other) => {
    const button = element("button", text(processes[other][TITLE]));
    button.addEventListener("click", () => choose(other, true));
    return button;
  };
  entry("state", element("span", text(process[STATE]), process[KIND] === FAILED ? "bad" : ""));
  entry("command", element("span", text(process[COMMAND]), "command"));
  entry("process", `${process[ID]}, ${text(process[USER])}`);
  const cpu = process[CPU] === null ? "" : `, ${duration(process[CPU])} of processor time`;
  entry("time", `${since(process[BEGIN])} to ${since(process[END])}: ${duration(process[END] - process[BEGIN])}${cpu}`);
  const steps = run.execs.filter((exec) => exec[0] === index);
  if (steps.length > 1) entry("ran", steps.map(([, ns, title]) => `${text(title)} (${since(ns)})`).join(", then "));
  if (process[PARENT] >= 0) entry("under", link(process[PARENT]));
  const own = children[index];
  if (own.length) {
    const links = own.slice(0, STORY_CHILDREN_MAX).flatMap((child, place) => (place ? [", ", link(child)] : [link(child)]));
    const rest = own.length - STORY_CHILDREN_MAX;
    entry("started", ...links, rest > 0 ? ` and ${rest.toLocaleString("en")} more` : "");
  }
  byId("story").replaceChildren(element("strong", text(process[TITLE])), list);
}
story(-1);

// --- the timeline ---
const LANE = 18, BAR = 15, RULER = 22;
const box = byId("timeline"), canvas = box.querySelector("canvas"), pen = canvas.getContext("2d");
const chain = new Set(run.chain.map(([index]) => index));

// Each in the first lane below its parent's that is free then: who was there together is never in one.
const lanes = [];
const laneOf = new Array(processes.length).fill(0);
const byBegin = processes.map((_, index) => index).sort((a, b) =>
  processes[a][BEGIN] - processes[b][BEGIN] || processes[b][END] - processes[a][END]);
{
  const ends = [];
  for (const index of byBegin) {
    const [begin, end, parent] = [processes[index][BEGIN], processes[index][END], processes[index][PARENT]];
    let lane = parent < 0 ? 0 : laneOf[parent] + 1;
    while (lane < ends.length && ends[lane] > begin) lane += 1;
    while (ends.length <= lane) { ends.push(-1); lanes.push([]); }
    ends[lane] = Math.max(end, begin + 1);
    laneOf[index] = lane;
    lanes[lane].push(index);
  }
}
byId("height").style.height = `${lanes.length * LANE + RULER}px`;
box.style.height = `${lanes.length * LANE + RULER + 8}px`;

const whole = Math.max(1, run.length_ns);
let from = 0, to = whole;
let matches = null;
let colours = {};
function readColours() {
  const style = getComputedStyle(document.documentElement);
  for (const name of ["text", "faint", "bar", "bar-edge", "bad", "alive", "chain", "dim", "chosen", "line", "raised"]) {
    colours[name] = style.getPropertyValue(`--${name}`).trim();
  }
}

const width = () => box.clientWidth;
const x = (ns) => ((ns - from) / (to - from)) * width();
const ns = (x) => from + (x / width()) * (to - from);

let isAsked = false;
function draw() {
  if (isAsked) return;
  isAsked = true;
  requestAnimationFrame(() => { isAsked = false; paint(); });
}

function colourOf(index) {
  if (matches && !matches.has(index)) return colours.dim;
  const kind = processes[index][KIND];
  return kind === FAILED ? colours.bad : kind === ALIVE ? colours.alive : colours.bar;
}

// The first of a lane that has not ended at `time`: those of one lane come one after the other.
function firstAfter(lane, time) {
  let low = 0, high = lane.length;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (processes[lane[middle]][END] < time) low = middle + 1; else high = middle;
  }
  return low;
}

function paint() {
  const scale = window.devicePixelRatio || 1;
  const [wide, high] = [width(), box.clientHeight];
  if (canvas.width !== Math.round(wide * scale) || canvas.height !== Math.round(high * scale)) {
    canvas.width = Math.round(wide * scale);
    canvas.height = Math.round(high * scale);
    canvas.style.width = `${wide}px`;
    canvas.style.height = `${high}px`;
    byId("height").style.marginTop = `-${high}px`;
  }
  pen.setTransform(scale, 0, 0, scale, 0, 0);
  pen.fillStyle = colours.raised;
  pen.fillRect(0, 0, wide, high);
  pen.font = "12px system-ui, 'DejaVu Sans', sans-serif";
  pen.textBaseline = "middle";
  const first = Math.max(0, Math.floor((box.scrollTop - RULER) / LANE));
  const last = Math.min(lanes.length - 1, Math.ceil((box.scrollTop + high) / LANE));
  for (let lane = first; lane <= last; lane += 1) paintLane(lanes[lane], RULER + lane * LANE - box.scrollTop);
  ruler(wide);
}

function paintLane(lane, y) {
  for (let place = firstAfter(lane, from); place < lane.length; place += 1) {
    const index = lane[place];
    if (processes[index][BEGIN] > to) break;
    const left = x(processes[index][BEGIN]);
    let right = x(processes[index][END]);
    if (right - left >= 1.5) {
      bar(index, left, right, y);
      continue;
    }
    // Narrower than can be seen: with those that follow without a gap, one bar with their number.
    let [merged, hasFailed, hasMatch] = [1, processes[index][KIND] === FAILED, !matches || matches.has(index)];
    right = Math.max(right, left + 1);
    for (; place + 1 < lane.length; place += 1) {
      const next = lane[place + 1];
      const [begin, end] = [x(processes[next][BEGIN]), x(processes[next][END])];
      if (begin - right > 0.5 || end - begin >= 1.5) break;
      right = Math.max(right, end);
      merged += 1;
      hasFailed ||= processes[next][KIND] === FAILED;
      hasMatch ||= !matches || matches.has(next);
    }
    pen.fillStyle = !hasMatch ? colours.dim : hasFailed ? colours.bad : colours.bar;
    pen.globalAlpha = merged > 1 ? 0.75 : 1;
    pen.fillRect(left, y, Math.max(1, right - left), BAR);
    pen.globalAlpha = 1;
    if (merged > 1) label(merged.toLocaleString("en"), left, right, y);
  }
}

function bar(index, left, right, y) {
  const shownLeft = Math.max(left, -2);
  const shownRight = Math.min(right, width() + 2);
  pen.fillStyle = colourOf(index);
  pen.fillRect(shownLeft, y, shownRight - shownLeft - 0.5, BAR);
  const isDim = matches && !matches.has(index);
  if (processes[index][KIND] === FAILED && !isDim && shownRight - shownLeft > 12) {
    pen.strokeStyle = "#fff";
    pen.lineWidth = 1.6;
    pen.beginPath();
    const [cx, cy, arm] = [shownRight - 8, y + BAR / 2, 3.2];
    pen.moveTo(cx - arm, cy - arm); pen.lineTo(cx + arm, cy + arm);
    pen.moveTo(cx + arm, cy - arm); pen.lineTo(cx - arm, cy + arm);
    pen.stroke();
  }
  if (chain.has(index) || index === chosen) {
    pen.strokeStyle = index === chosen ? colours.chosen : colours.chain;
    pen.lineWidth = 2;
    pen.strokeRect(shownLeft + 1, y + 1, Math.max(2, shownRight - shownLeft - 2.5), BAR - 2);
  }
  const room = processes[index][KIND] === FAILED ? shownRight - 14 : shownRight;
  label(text(processes[index][TITLE]), shownLeft, room, y, isDim);
}

function label(words, left, right, y, isDim) {
  const room = right - left - 6;
  if (room < 18) return;
  pen.save();
  pen.beginPath();
  pen.rect(left, y, right - left, BAR);
  pen.clip();
  pen.fillStyle = isDim ? colours.faint : "#fff";
  pen.fillText(words, left + 4, y + BAR / 2 + 0.5);
  pen.restore();
}

function ruler(wide) {
  pen.fillStyle = colours.raised;
  pen.fillRect(0, 0, wide, RULER - 3);
  const wanted = (to - from) / Math.max(2, wide / 130);
  const power = 10 ** Math.floor(Math.log10(wanted));
  const step = [1, 2, 5, 10].map((factor) => factor * power).find((one) => one >= wanted) ?? wanted;
  pen.fillStyle = colours.faint;
  pen.strokeStyle = colours.line;
  pen.lineWidth = 1;
  for (let time = Math.ceil(from / step) * step; time <= to; time += step) {
    const at = Math.round(x(time)) + 0.5;
    pen.beginPath();
    pen.moveTo(at, RULER - 6);
    pen.lineTo(at, RULER - 2);
    pen.stroke();
    const words = since(Math.round(time));
    if (at + 3 + pen.measureText(words).width < wide) pen.fillText(words, at + 3, (RULER - 6) / 2 + 1);
  }
}

// Zooms so that what is at `at` stays there.
function zoom(factor, at) {
  const length = Math.min(whole * 1.02, Math.max(200, (to - from) * factor));
  const middle = ns(at ?? width() / 2);
  const share = (middle - from) / (to - from);
  from = middle - share * length;
  to = from + length;
  clamp();
}
function move(by) {
  from += by; to += by;
  clamp();
}
function clamp() {
  const length = to - from;
  const edge = whole * 0.01;
  if (from < -edge) [from, to] = [-edge, length - edge];
  if (to > whole + edge) [from, to] = [Math.max(-edge, whole + edge - length), whole + edge];
  draw();
}
function showWhole() {
  [from, to] = [-whole * 0.01, whole * 1.01];
  clamp();
}
function show(index) {
  const process = processes[index];
  if (!process) return;
  const [begin, end] = [process[BEGIN], process[END]];
  if (begin < from || end > to || x(end) - x(begin) < 3) {
    const length = Math.max((end - begin) * 8, 2e3);
    from = (begin + end) / 2 - length / 2;
    to = from + length;
    clamp();
  }
  const y = laneOf[index] * LANE;
  if (y < box.scrollTop || y > box.scrollTop + box.clientHeight - 3 * LANE) box.scrollTop = y - box.clientHeight / 2;
}

function at(event) {
  const bounds = canvas.getBoundingClientRect();
  const lane = lanes[Math.floor((event.clientY - bounds.top - RULER + box.scrollTop) / LANE)];
  if (!lane || event.clientY - bounds.top < RULER) return -1;
  const slack = (2 * (to - from)) / width();
  const time = ns(event.clientX - bounds.left);
  const place = firstAfter(lane, time - slack);
  return place < lane.length && processes[lane[place]][BEGIN] <= time + slack ? lane[place] : -1;
}

box.addEventListener("wheel", (event) => {
  if (event.shiftKey) return;
  event.preventDefault();
  if (Math.abs(event.deltaX) > Math.abs(event.deltaY)) move((event.deltaX / width()) * (to - from));
  else zoom(Math.exp(event.deltaY * 0.0015), event.clientX - canvas.getBoundingClientRect().left);
}, { passive: false });
box.addEventListener("scroll", draw);
let dragged = null;
canvas.addEventListener("pointerdown", (event) => {
  dragged = { x: event.clientX, y: event.clientY, moved: false };
  canvas.setPointerCapture(event.pointerId);
});
canvas.addEventListener("pointermove", (event) => {
  if (!dragged) {
    const index = at(event);
    canvas.title = index < 0 ? "" : `${text(processes[index][TITLE])}\n${text(processes[index][STATE])}, ${duration(processes[index][END] - processes[index][BEGIN])}`;
    return;
  }
  const [right, down] = [event.clientX - dragged.x, event.clientY - dragged.y];
  if (!dragged.moved && Math.hypot(right, down) < 4) return;
  dragged = { x: event.clientX, y: event.clientY, moved: true };
  box.scrollTop -= down;
  move((-right / width()) * (to - from));
});
canvas.addEventListener("pointerup", (event) => {
  if (dragged && !dragged.moved) choose(at(event), false);
  dragged = null;
});
canvas.addEventListener("pointercancel", () => { dragged = null; });
box.addEventListener("keydown", (event) => {
  const keys = {
    "+": () => zoom(0.5), "=": () => zoom(0.5), "-": () => zoom(2), "0": showWhole,
    ArrowLeft: () => move((from - to) / 8), ArrowRight: () => move((to - from) / 8),
    Enter: nextMatch, Escape: () => search(""),
  };
  const act = keys[event.key];
  if (!act || event.ctrlKey || event.metaKey) return;
  event.preventDefault();
  act();
});
byId("in").addEventListener("click", () => zoom(0.5));
byId("out").addEventListener("click", () => zoom(2));
byId("whole").addEventListener("click", showWhole);

// --- searching ---
function search(words) {
  if (byId("search").value !== words) byId("search").value = words;
  const wanted = words.trim().toLowerCase();
  if (!wanted) {
    matches = null;
  } else {
    const has = run.texts.map((one) => one.toLowerCase().includes(wanted));
    matches = new Set(byBegin.filter((index) => {
      const process = processes[index];
      return has[process[TITLE]] || has[process[COMMAND]] || has[process[USER]] || String(process[ID]) === wanted;
    }));
  }
  byId("found").textContent = matches ? `${count(matches.size, "process", "processes")}; Enter goes to the next` : "";
  draw();
}
function nextMatch() {
  if (!matches || !matches.size) return;
  const all = [...matches];
  choose(all[(all.indexOf(chosen) + 1) % all.length], true);
}
byId("search").addEventListener("input", (event) => search(event.target.value));
byId("search").addEventListener("keydown", (event) => {
  if (event.key === "Enter") nextMatch();
  if (event.key === "Escape") search("");
});
document.addEventListener("keydown", (event) => {
  if (event.key !== "/" || event.target === byId("search")) return;
  event.preventDefault();
  byId("search").focus();
});

readColours();
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => { readColours(); draw(); });
new ResizeObserver(draw).observe(box);
showWhole();
document.documentElement.dataset.ready = String(processes.length);
