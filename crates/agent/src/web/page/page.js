// The store, as `systrail web` serves it: what is chosen is in the address, so that somebody else sees the same.
// Times are milliseconds since 1970, UTC; within what is loaded they are nanoseconds from its begin.
const nameTime = (ms, digits) => new Date(ms).toISOString().slice(11, 19 + (digits ? digits + 1 : 0));
const nameDay = (ms) => new Date(ms).toISOString().slice(0, 10);
const nameMoment = (ms) => `${nameDay(ms)} ${nameTime(ms)}`;
const nanoseconds = (ms) => String(BigInt(Math.round(ms * 1e3)) * 1000n);

let store = null, loaded = null, chosen = "", isLive = false, isLoading = false;
let span = { since: null, until: null };
let byKey = new Map();

// --- a page that was saved has what it shows in it, and asks nobody ---
const saved = JSON.parse(byId("saved")?.textContent ?? "null");
function findSaved(name, parameters) {
  if (name !== "story") return saved[name];
  const story = saved.stories[parameters.key];
  if (!story) throw new Error(`The story of this one was not saved with the page, as of ${saved.without_story}; systrail show ${parameters.key} tells it.`);
  return story;
}

// --- asking ---
const failures = new Map();
function fail(name, why) {
  if (why) failures.set(name, why); else failures.delete(name);
  const notes = [...failures.values(), ...(loaded?.notes ?? []), ...(store?.notes ?? [])];
  byId("notes").replaceChildren(...[...new Set(notes)].slice(0, 6).map((note) => element("p", note)));
}
async function ask(name, parameters, options) {
  if (saved) return findSaved(name, parameters);
  const query = new URLSearchParams(parameters).toString();
  const answer = await fetch(`api/${name}${query ? `?${query}` : ""}`, options);
  const told = await answer.json();
  if (!answer.ok) throw new Error(told.error ?? answer.statusText);
  return told;
}
function bounds() {
  const asked = {};
  if (span.since !== null) asked.since = nanoseconds(span.since);
  if (span.until !== null) asked.until = nanoseconds(span.until);
  return asked;
}

// --- the address ---
function readAddress() {
  const told = new URLSearchParams(location.hash.slice(1));
  const time = (name) => (told.has(name) && Number.isFinite(Number(told.get(name))) ? Number(told.get(name)) : null);
  span = { since: time("since"), until: time("until") };
  chosen = /^[0-9a-f]{16}$/.test(told.get("key") ?? "") ? told.get("key") : "";
  if (told.has("sql")) byId("query").value = told.get("sql");
  if (told.has("tab")) tab = told.get("tab");
  if (told.has("find")) byId("search").value = told.get("find");
}
let isWriting = false;
function writeAddress() {
  const told = new URLSearchParams();
  const put = (name, value) => { if (value !== null && value !== "") told.set(name, value); };
  put("since", span.since === null ? null : Math.floor(span.since));
  put("until", span.until === null ? null : Math.ceil(span.until));
  put("key", chosen);
  put("find", byId("search").value);
  if (tab !== "story") put("tab", tab);
  if (tab === "SQL") put("sql", byId("query").value);
  history.replaceState(null, "", `#${told}`);
  if (!saved) byId("save").href = `api/page?${new URLSearchParams({ ...bounds(), ...(chosen ? { key: chosen } : {}) })}`;
}

// --- the whole store, on top ---
const strip = byId("overview"), picture = strip.querySelector("canvas");
const stripTime = (x) => store.begin_ms + (x / strip.clientWidth) * (store.end_ms - store.begin_ms);
const stripX = (ms) => ((ms - store.begin_ms) / Math.max(1, store.end_ms - store.begin_ms)) * strip.clientWidth;
let drawn = null;
function paintStrip() {
  if (!store) return;
  const scale = window.devicePixelRatio || 1, [wide, high] = [strip.clientWidth, 54];
  picture.width = Math.round(wide * scale);
  picture.height = Math.round(high * scale);
  picture.style.width = `${wide}px`;
  picture.style.height = `${high}px`;
  const pen = picture.getContext("2d"), style = getComputedStyle(document.documentElement);
  const colour = (name) => style.getPropertyValue(`--${name}`).trim();
  pen.setTransform(scale, 0, 0, scale, 0, 0);
  const most = Math.max(1, ...store.spans), bars = high - 14;
  pen.fillStyle = colour("bar");
  store.spans.forEach((count, place) => {
    if (!count) return;
    const tall = Math.max(1.5, Math.sqrt(count / most) * (bars - 4));
    pen.fillRect((place / store.spans.length) * wide, bars - tall, wide / store.spans.length + 0.3, tall);
  });
  const shade = (from, to, name, alpha) => {
    pen.globalAlpha = alpha;
    pen.fillStyle = colour(name);
    pen.fillRect(from, 0, Math.max(3, to - from), bars);
    pen.globalAlpha = 1;
  };
  for (const [from, to] of store.stops) shade(stripX(from), to === null ? wide : stripX(to), "faint", 0.3);
  for (const [at] of store.losses) shade(stripX(at) - 1.5, stripX(at) + 1.5, "gap", 0.85);
  const [from, to] = drawn ?? [span.since ?? store.begin_ms, span.until ?? store.end_ms];
  pen.fillStyle = colour("ground");
  pen.globalAlpha = 0.62;
  pen.fillRect(0, 0, stripX(from), bars);
  pen.fillRect(stripX(to), 0, wide, bars);
  pen.globalAlpha = 1;
  pen.strokeStyle = colour("chosen");
  pen.lineWidth = 1.5;
  pen.strokeRect(stripX(from) + 0.75, 0.75, Math.max(3, stripX(to) - stripX(from) - 1.5), bars - 1.5);
  pen.fillStyle = colour("faint");
  pen.font = "11px system-ui, 'DejaVu Sans', sans-serif";
  const isLong = store.end_ms - store.begin_ms > 864e5;
  const name = (ms) => (isLong ? nameMoment(ms).slice(5, 16) : nameTime(ms));
  for (let place = 0; place < 5; place += 1) {
    const words = name(stripTime((place / 4) * wide)), room = pen.measureText(words).width;
    pen.fillText(words, Math.min(wide - room - 2, Math.max(2, (place / 4) * wide - room / 2)), high - 3);
  }
}
let held = null;
const stripAt = (event) => Math.min(Math.max(0, event.clientX - strip.getBoundingClientRect().left), strip.clientWidth);
picture.addEventListener("pointerdown", (event) => {
  held = stripAt(event);
  picture.setPointerCapture(event.pointerId);
});
picture.addEventListener("pointermove", (event) => {
  if (held === null || !store) return;
  const [from, to] = [held, stripAt(event)].sort((a, b) => a - b);
  drawn = to - from > 3 ? [stripTime(from), stripTime(to)] : null;
  paintStrip();
});
picture.addEventListener("pointerup", (event) => {
  if (held === null || !store) return;
  const time = stripTime(stripAt(event));
  const length = Math.min(store.end_ms - store.begin_ms, (span.until ?? store.end_ms) - (span.since ?? store.begin_ms));
  lookAt(...(drawn ?? [time - length / 2, time + length / 2]));
  [held, drawn] = [null, null];
});
strip.addEventListener("keydown", (event) => {
  const sides = { ArrowLeft: -1, ArrowRight: 1 };
  if (!(event.key in sides) || !store) return;
  event.preventDefault();
  const [from, to] = [span.since ?? store.begin_ms, span.until ?? store.end_ms];
  const by = (sides[event.key] * (to - from)) / 2;
  lookAt(from + by, to + by);
});
function lookAt(since, until) {
  if (saved) return;
  setLive(false);
  span = { since: Math.max(store.begin_ms, since), until: Math.min(store.end_ms + 1, Math.max(until, since + 1)) };
  load();
}

function tellStore() {
  byId("host").textContent = store.host || "SysTrail";
  document.title = `${store.host || "store"} · SysTrail`;
  const count_ = count(store.event_count, "event", "events");
  const how = store.is_written ? "recording" : `recorded until ${nameMoment(store.end_ms)}`;
  byId("recorded").textContent = store.event_count ? `${how}${store.source ? ` (${store.source})` : ""}, ${count_}` : "nothing was recorded yet";
  const lost = store.losses.reduce((sum, loss) => sum + loss[2], 0);
  const last = store.losses.at(-1);
  byId("lost").textContent = lost ? `lost: ${lost.toLocaleString("en")} ░ at ${nameTime(last[0])}` : "nothing lost";
  byId("lost").className = lost ? "bad" : "hint";
  byId("lost").title = store.losses.slice(-30).map(([at, kind, number, why]) => `${nameMoment(at)}: ${number} ${kind}, ${why}`).join("\n");
  paintStrip();
}

// --- what is loaded ---
async function loadStore() {
  try {
    store = await ask("overview");
    fail("store");
  } catch (error) {
    fail("store", `the store cannot be looked at: ${error.message}`);
  }
  if (store) tellStore();
}
let asked = 0;
async function load() {
  const turn = (asked += 1);
  writeAddress();
  byId("window").textContent = "loading…";
  isLoading = true;
  try {
    const told = await ask("processes", bounds());
    if (turn !== asked) return;
    loaded = told;
    fail("load");
  } catch (error) {
    if (turn === asked) fail("load", `the processes cannot be read: ${error.message}`);
  } finally {
    if (turn === asked) isLoading = false;
  }
  if (turn === asked) showLoaded(false);
}
function showLoaded(stays) {
  if (!loaded) return void (byId("window").textContent = "");
  byKey = new Map(loaded.keys.map((key, index) => [key, index]));
  const [from, to] = [loaded.begin_ms, loaded.begin_ms + loaded.length_ns / 1e6];
  const here = (loaded.processes.length === 1 ? "1 process" : `${loaded.processes.length.toLocaleString("en")} processes`);
  byId("window").textContent = `${nameMoment(from)} to ${nameDay(from) === nameDay(to) ? nameTime(to) : nameMoment(to)} UTC: ${here}${loaded.is_cut ? "; long command lines end with …, stories have all of them" : ""}`;
  const within = ([at]) => at >= from && at <= to;
  const gaps = (store?.losses ?? []).filter(within).slice(-200).map(([at, , number]) => {
    const ns = (at - from) * 1e6;
    return [ns, ns, `${count(number, "event", "events")} lost`];
  });
  for (const [begin, end] of store?.stops ?? []) {
    if ((end ?? to) >= from && begin < to) gaps.push([(begin - from) * 1e6, ((end ?? to) - from) * 1e6, "nobody recorded"]);
  }
  const processes = loaded.processes;
  const isThroughout = (process) => process[BEGIN] < 0 && process[KIND] === ALIVE;
  timeline.load({
    processes, texts: loaded.texts, length: loaded.length_ns, gaps, stays,
    has_bar: (index) => !isThroughout(processes[index]),
    nameTime: (ns, step) => nameTime(from + ns / 1e6, step < 1e9 ? 3 : 0), origin: (from % 864e5) * 1e6,
  });
  const standing = processes.filter(isThroughout).length;
  byId("standing").textContent = standing ? `${count(standing, "process", "processes")} that were there all the time have no bar; the tree has them.` : "";
  buildTree();
  find(byId("search").value);
  choose(chosen, false);
  paintStrip();
  fail();
  document.documentElement.dataset.ready = String(processes.length);
}
const shownText = (index) => loaded.texts[index] ?? "?";

// --- the tree: only the rows that are seen are in the document ---
const tree = byId("tree"), ROW = 22;
let children = [], rows = [], matches = null;
const closed = new Set();
// All of them; those that began or ended in the chosen time; those that failed: each with what it stands under.
const KEPT = ["all", "began or ended", "failed"];
const CALM = 60;
let kept = "";
function keptOnes() {
  const processes = loaded.processes;
  const isBusy = (process) => process[BEGIN] >= 0 || process[KIND] !== ALIVE;
  const wants = { all: () => true, "began or ended": isBusy, failed: (process) => process[KIND] === FAILED };
  // A machine's services would stand before what happened.
  const now = kept || (processes.length > CALM && processes.some(isBusy) ? "began or ended" : "all");
  const ones = new Set();
  processes.forEach((process, index) => {
    if (!wants[now](process)) return;
    for (let up = index; up >= 0 && !ones.has(up); up = processes[up][PARENT]) ones.add(up);
  });
  const failed = processes.filter(wants.failed).length;
  byId("kept").replaceChildren(...KEPT.map((name) => {
    const button = element("button", name === "failed" ? `✗ ${failed.toLocaleString("en")} failed` : name, name === "failed" && failed ? "bad" : "");
    button.setAttribute("aria-pressed", String(name === now));
    button.addEventListener("click", () => { kept = name; buildTree(); });
    return button;
  }));
  return ones;
}
function buildTree() {
  const processes = loaded.processes, ones = keptOnes();
  children = processes.map(() => []);
  const roots = [];
  for (const index of ones) (processes[index][PARENT] >= 0 ? children[processes[index][PARENT]] : roots).push(index);
  const order = (a, b) => processes[a][BEGIN] - processes[b][BEGIN] || processes[a][ID] - processes[b][ID];
  children.forEach((list) => list.sort(order));
  roots.sort(order);
  rows = [];
  const seen = new Set();
  const waiting = roots.reverse().map((index) => [index, 0]);
  while (waiting.length) {
    const [index, depth] = waiting.pop();
    if (seen.has(index)) continue;
    seen.add(index);
    rows.push([index, depth]);
    if (closed.has(loaded.keys[index])) continue;
    for (let place = children[index].length - 1; place >= 0; place -= 1) waiting.push([children[index][place], depth + 1]);
  }
  tree.querySelector(".height").style.height = `${rows.length * ROW}px`;
  paintTree();
}
function paintTree() {
  const first = Math.max(0, Math.floor(tree.scrollTop / ROW) - 5);
  const last = Math.min(rows.length, Math.ceil((tree.scrollTop + tree.clientHeight) / ROW) + 5);
  const shown = [];
  for (let place = first; place < last; place += 1) shown.push(treeRow(place));
  if (!rows.length && loaded) {
    const isOther = loaded.processes.length > 0;
    const stop = store?.stops.find(([begin, end]) => begin <= (span.since ?? 0) && (end ?? Infinity) >= (span.until ?? Infinity));
    shown.push(element("p", isOther ? "None of the processes of this time." : stop ? "Nothing was recorded then: nobody recorded." : "Nothing was recorded in this time.", "empty"));
  }
  tree.replaceChildren(tree.querySelector(".height"), ...shown);
}
function treeRow(place) {
  const [index, depth] = rows[place], process = loaded.processes[index], key = loaded.keys[index];
  const row = element("div", undefined, "row");
  row.style.top = `${place * ROW}px`;
  row.style.paddingLeft = `${Math.min(depth, 30) * 14 + 4}px`;
  row.setAttribute("role", "treeitem");
  row.setAttribute("aria-level", String(depth + 1));
  const isOpen = !closed.has(key);
  const fold = element("span", children[index].length ? (isOpen ? "▾" : "▸") : "", "fold");
  fold.addEventListener("click", (event) => { event.stopPropagation(); setOpen(index, !isOpen); });
  const state = process[KIND] === ALIVE ? "" : shownText(process[STATE]);
  const failed = process[KIND] === FAILED;
  row.append(fold, element("span", shownText(process[TITLE]), "name"), element("span", shownText(process[USER]), "user"),
    element("span", failed ? `✗ ${state}` : state, failed ? "state bad" : "state"));
  row.title = `${process[ID]} ${shownText(process[COMMAND])}`.slice(0, 600);
  if (children[index].length) row.setAttribute("aria-expanded", String(isOpen));
  if (key === chosen) { row.classList.add("chosen"); row.setAttribute("aria-selected", "true"); }
  if (matches && !matches.has(index)) row.classList.add("dim");
  row.addEventListener("click", () => choose(key, true));
  return row;
}
function setOpen(index, isOpen) {
  const key = loaded.keys[index];
  if (isOpen) closed.delete(key); else closed.add(key);
  buildTree();
}
tree.addEventListener("scroll", paintTree);
new ResizeObserver(() => { paintTree(); paintStrip(); }).observe(tree);
tree.addEventListener("keydown", (event) => {
  if (!loaded || event.ctrlKey || event.metaKey) return;
  const at = rows.findIndex(([index]) => loaded.keys[index] === chosen);
  const index = at < 0 ? -1 : rows[at][0];
  const go = (place) => { if (rows[place]) choose(loaded.keys[rows[place][0]], true); };
  const isOpen = index >= 0 && children[index].length > 0 && !closed.has(chosen);
  const parent = index < 0 ? -1 : loaded.processes[index][PARENT];
  const keys = {
    ArrowDown: () => go(at + 1), ArrowUp: () => go(Math.max(0, at - 1)), Home: () => go(0), End: () => go(rows.length - 1),
    PageDown: () => go(Math.min(rows.length - 1, at + 20)), PageUp: () => go(Math.max(0, at - 20)),
    ArrowLeft: () => { if (isOpen) setOpen(index, false); else if (parent >= 0) choose(loaded.keys[parent], true); },
    ArrowRight: () => { if (index >= 0 && !isOpen) setOpen(index, true); else go(at + 1); },
    Enter: () => showTab("story"),
  };
  if (!keys[event.key]) return;
  event.preventDefault();
  keys[event.key]();
});
function showInTree(index) {
  for (let up = loaded.processes[index][PARENT], steps = 0; up >= 0 && steps < 1e5; up = loaded.processes[up][PARENT], steps += 1) closed.delete(loaded.keys[up]);
  buildTree();
  if (kept !== "all" && !rows.some(([at]) => at === index)) { kept = "all"; buildTree(); }
  const y = rows.findIndex(([at]) => at === index) * ROW;
  if (y < tree.scrollTop || y > tree.scrollTop + tree.clientHeight - 2 * ROW) tree.scrollTop = y - tree.clientHeight / 2;
}

// --- what is chosen: one process, in all parts of the page ---
const timeline = timelineIn(byId("timeline"), (index, goes) => choose(loaded.keys[index] ?? "", goes));
function choose(key, goes) {
  const isOther = key !== chosen;
  chosen = key;
  const index = byKey.get(key) ?? -1;
  timeline.setChosen(index);
  if (index >= 0 && goes) timeline.show(index);
  if (index >= 0 && isOther) showInTree(index); else paintTree();
  if (isOther || goes === false) loadStory();
  if (isOther) writeAddress();
}

// --- the story, the libraries, the threads ---
let tab = "story", told = null;
const TABS = ["story", "libraries", "threads", ...(saved ? [] : ["SQL"])];
function showTab(name) {
  tab = TABS.includes(name) ? name : "story";
  byId("tabs").replaceChildren(...TABS.map((one) => {
    const button = element("button", one);
    button.setAttribute("role", "tab");
    button.setAttribute("aria-selected", String(one === tab));
    button.addEventListener("click", () => showTab(one));
    return button;
  }));
  byId("sql").hidden = tab !== "SQL";
  byId("story").hidden = tab === "SQL";
  if (tab === "SQL") loadSchema(); else tellStory();
  writeAddress();
}
let storyAsked = "";
async function loadStory() {
  const wanted = chosen ? `${chosen} ${span.until ?? ""}` : "";
  if (wanted === storyAsked) return;
  storyAsked = wanted;
  if (!chosen) { told = null; return tellStory(); }
  try {
    const answer = await ask("story", { key: chosen, ...(span.until === null ? {} : { until: nanoseconds(span.until) }) });
    if (storyAsked === wanted) told = answer;
  } catch (error) {
    if (storyAsked === wanted) told = { error: error.message };
  }
  if (storyAsked === wanted) tellStory();
}
function link(key, words) {
  const button = element("button", words);
  button.addEventListener("click", () => choose(key, true));
  return button;
}
function table(heads, list, cellsOf, keyOf) {
  const section = element("div");
  const made = element("table"), head = element("tr"), body = element("tbody"), top = element("thead"), more = element("p", undefined, "more");
  head.append(...heads.map((name) => element("th", name)));
  top.append(head);
  made.append(top, body);
  section.append(made, more);
  fill(section, list, (item) => {
    const row = element("tr");
    row.append(...cellsOf(item).map((cell) => (cell instanceof Node ? cell : element("td", cell))));
    const key = keyOf?.(item);
    if (key) {
      row.classList.add("link");
      row.addEventListener("click", () => choose(key, true));
    }
    return row;
  });
  return section;
}
const clock = (text) => (text ? text.slice(11, 23) : "?");
function tellStory() {
  const box = byId("story");
  if (!told) return void box.replaceChildren(element("p", "Choose a process: in the tree, in the timeline, or in an answer of SQL.", "hint"));
  if (told.error) return void box.replaceChildren(element("p", told.error, "bad"));
  const story = told.story, parts = [element("strong", told.title)];
  if (told.lost) parts.push(element("p", told.lost, "bad"));
  if (tab === "libraries") {
    const lists = [["loaded", story.images], ["inherited over the fork", story.inherited_images]];
    for (const [name, list] of lists) {
      if (!list.count) continue;
      parts.push(element("p", `${name}: ${list.count.toLocaleString("en")}${list.count > list.first.length ? `, the first ${list.first.length} are here` : ""}`, "hint"));
      parts.push(table(["at", "file", "bytes", "where"], list.first, (one) => [clock(one.time), one.image ?? "?", one.image_size.toLocaleString("en"), one.image_base]));
    }
    if (!story.images.count && !story.inherited_images.count) parts.push(element("p", "No library of it was recorded.", "hint"));
  } else if (tab === "threads") {
    const list = story.threads;
    if (!list.count) parts.push(element("p", "No thread beside its first was recorded.", "hint"));
    else parts.push(element("p", `${count(list.count, "thread", "threads")}${list.count > list.first.length ? `, the first ${list.first.length} are here` : ""}`, "hint"),
      table(["thread", "from", "to", ""], list.first, (one) => [String(one.thread_id), clock(one.start_time), one.exit_time ? clock(one.exit_time) : told.state_text, one.remote_creator === undefined ? "" : `made by process ${one.remote_creator}`]));
  } else {
    parts.push(storyList(story));
    if (story.execs.first.length > 1) parts.push(element("h2", "Programs, one after the other"), table(["at", "program", "command"], story.execs.first, (one) => [clock(one.time), one.image ?? "?", one.command_line ?? ""]));
    if (story.children.length) {
      const failed = (place) => element("td", told.children[place][1], /^(exit 0|running|was running|ended)$/.test(told.children[place][1]) ? "" : "bad");
      parts.push(element("h2", `Started ${count(story.children.length, "process", "processes")}`),
        table(["at", "what", "how it ended", "ran"], story.children.map((one, place) => [one, place]),
          ([one, place]) => [clock(one.start_time_text), told.children[place][0], failed(place), duration(one.run_time_ns)], ([one]) => one.process_key));
    }
  }
  box.replaceChildren(...parts);
}
function storyList(story) {
  const list = element("dl");
  const entry = (name, ...content) => {
    const dd = element("dd");
    dd.append(...content);
    list.append(element("dt", name), dd);
  };
  const ran = story.run_time_ns === undefined ? "" : ` after ${duration(story.run_time_ns)}`;
  const known = story.known_until_text ? ` when the recording ended, at ${clock(story.known_until_text)}` : "";
  entry("state", element("span", `${told.state_text}${known || ran}`, told.has_failed ? "bad" : ""));
  entry("command", element("span", story.command_line ?? story.name ?? "?", "command"));
  entry("program", element("span", `${story.image ?? "?"}${story.script ? ` for ${story.script}` : ""}`));
  entry("process", `${story.process_id}, key ${story.process_key}, ${story.user ?? "?"}${story.session_id === undefined ? "" : `, session ${story.session_id}`}`);
  entry("from", story.start_time_text ? `${story.start_time_text.replace("T", " ")}${story.existing ? ", before the recording" : ""}` : "before the trail begins");
  if (story.exit_time_text) entry("to", story.exit_time_text.replace("T", " "));
  if (story.ancestors.length) entry("under", ...story.ancestors.flatMap((one, place) => [place ? " < " : "", link(one.process_key, told.ancestors[place][0])]));
  return list;
}

// --- SQL ---
let schema = null, stopper = null;
async function loadSchema() {
  if (schema) return;
  try {
    schema = await ask("schema");
  } catch (error) {
    return fail("schema", error.message);
  }
  byId("examples").append(...schema.examples.map(([question], place) => new Option(question, String(place))));
}
byId("examples").addEventListener("change", (event) => {
  const example = schema.examples[Number(event.target.value)];
  if (event.target.value !== "" && example) byId("query").value = example[1];
  event.target.value = "";
  byId("query").focus();
});
async function askSql() {
  const sql = byId("query").value;
  if (!sql.trim() || stopper) return;
  writeAddress();
  byId("completions").hidden = true;
  stopper = new AbortController();
  byId("stop").hidden = false;
  const begun = performance.now();
  const clockTick = setInterval(() => { byId("cost").textContent = `asking for ${((performance.now() - begun) / 1e3).toFixed(1)} s…`; }, 200);
  try {
    const asked = byId("bounded").checked ? bounds() : {};
    tellAnswer(await ask("query", asked, { method: "POST", body: sql, signal: stopper.signal }));
  } catch (error) {
    byId("cost").textContent = "";
    byId("answer").replaceChildren(element("p", error.name === "AbortError" ? "stopped" : error.message, "bad"));
  } finally {
    clearInterval(clockTick);
    stopper = null;
    byId("stop").hidden = true;
  }
}
function tellAnswer(answer) {
  byId("cost").textContent = `${count(answer.rows.length, "row", "rows")} in ${answer.took_ms} ms`;
  const parts = [...answer.incomplete.map((why) => element("p", `incomplete: ${why}`, "bad")), ...answer.notes.map((note) => element("p", note, "hint"))];
  const chart = chartOf(answer);
  if (chart) parts.push(chart);
  if (answer.rows.length) {
    const key = answer.columns.indexOf("process_key");
    const made = table(answer.columns, answer.rows, (row) => row.map((cell, column) => element("td", cell === null ? "" : String(cell), answer.numbers[column] ? "number" : "")),
      key < 0 ? undefined : (row) => row[key]);
    made.className = "rows";
    parts.push(made);
  } else {
    parts.push(element("p", "No row answers that.", "hint"));
  }
  byId("answer").replaceChildren(...parts);
  document.documentElement.dataset.answered = String(answer.rows.length);
}
// Of a name or a time with a number there is a picture.
function chartOf(answer) {
  // Numbers that are names, times or codes say nothing by their length.
  const isMeasure = (is, column) => is && !/(^|_)(id|key|time|sequence|signal|code|run)$/.test(answer.columns[column]);
  const number = answer.numbers.findIndex(isMeasure), name = answer.numbers.indexOf(false);
  const rows = answer.rows.slice(0, 40);
  if (number < 0 || name < 0 || answer.columns.length > 3 || rows.length < 2) return null;
  const canvas = element("canvas"), scale = window.devicePixelRatio || 1;
  const [wide, high] = [Math.min(700, byId("answer").clientWidth || 700), rows.length * 16 + 4];
  [canvas.width, canvas.height] = [wide * scale, high * scale];
  canvas.style.width = `${wide}px`;
  canvas.style.height = `${high}px`;
  const pen = canvas.getContext("2d"), style = getComputedStyle(document.documentElement);
  pen.scale(scale, scale);
  pen.font = "12px system-ui, 'DejaVu Sans', sans-serif";
  pen.textBaseline = "middle";
  const most = Math.max(...rows.map((row) => Math.abs(Number(row[number])) || 0), 1);
  rows.forEach((row, place) => {
    const long = ((Math.abs(Number(row[number])) || 0) / most) * wide * 0.6;
    pen.fillStyle = style.getPropertyValue("--bar");
    pen.fillRect(0, place * 16 + 2, Math.max(1, long), 13);
    pen.fillStyle = style.getPropertyValue("--text");
    pen.fillText(`${Number(row[number]).toLocaleString("en")}  ${String(row[name] ?? "").slice(-60)}`, long + 6, place * 16 + 9);
  });
  return canvas;
}
byId("ask").addEventListener("click", askSql);
byId("stop").addEventListener("click", () => stopper?.abort());
const editor = byId("query");
function complete() {
  const word = /[A-Za-z_]*$/.exec(editor.value.slice(0, editor.selectionStart))[0];
  const names = new Set(schema?.views.flatMap((view) => [view.name, ...view.columns.map((column) => column[0])]) ?? []);
  const fits = [...names].filter((name) => word && name.startsWith(word.toLowerCase()) && name !== word).slice(0, 12);
  const take = (name) => {
    editor.setRangeText(name, editor.selectionStart - word.length, editor.selectionStart, "end");
    byId("completions").hidden = true;
    editor.focus();
  };
  if (fits.length === 1) return take(fits[0]);
  byId("completions").hidden = !fits.length;
  byId("completions").replaceChildren(...fits.map((name) => {
    const button = element("button", name);
    button.addEventListener("click", () => take(name));
    return button;
  }));
}
editor.addEventListener("keydown", (event) => {
  if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) { event.preventDefault(); askSql(); }
  // Without a word there is nothing to complete, and Tab leads on as everywhere.
  if (event.key === "Tab" && !event.shiftKey && /[A-Za-z_]$/.test(editor.value.slice(0, editor.selectionStart))) { event.preventDefault(); complete(); }
});

// --- what happens now: one stream a browser, which tells the other pages of it ---
const channel = "BroadcastChannel" in window ? new BroadcastChannel(`systrail ${location.pathname}`) : null;
let source = null, release = null;
function hear(kind, data) {
  if (!isLive) return;
  if (kind === "anew") { loadStore(); load(); }
  if (kind === "state") {
    if (data.error) return fail("live", data.error);
    fail("live");
    loadStore();
  }
  if (kind === "news") takeNews(data);
}
function openSource() {
  source = new EventSource("api/events");
  const pass = (kind) => source.addEventListener(kind, (event) => {
    const data = JSON.parse(event.data);
    // Copied before it is heard, for whoever hears it makes it his own.
    channel?.postMessage([kind, data]);
    hear(kind, data);
  });
  ["anew", "state", "news"].forEach(pass);
  // What came while nobody listened is not told.
  source.addEventListener("open", () => { fail("stream"); hear("anew", {}); });
  source.addEventListener("error", () => fail("stream", "the stream of what happens now is interrupted; trying again"));
}
function closeSource() {
  source?.close();
  source = null;
  release?.();
  release = null;
  fail("stream");
}
channel?.addEventListener("message", (event) => hear(...event.data));
function setLive(wanted) {
  if (wanted === isLive || saved) return;
  isLive = wanted;
  byId("live").setAttribute("aria-pressed", String(isLive));
  if (!isLive) return closeSource();
  span = { since: store ? Math.max(store.begin_ms, store.end_ms - 3e5) : null, until: null };
  load();
  if (!navigator.locks) return openSource();
  navigator.locks.request(`systrail ${location.pathname}`, () => new Promise((resolve) => {
    if (!isLive) return resolve();
    release = resolve;
    openSource();
  }));
}
// Without locks every page would hold a stream, of which a browser has six.
document.addEventListener("visibilitychange", () => {
  if (navigator.locks || !isLive) return;
  if (document.hidden) source?.close(); else openSource();
});
const MOST = 20000;
let isShowing = false;
function takeNews(news) {
  if (!loaded || isLoading) return;
  const offset = (news.begin_ms - loaded.begin_ms) * 1e6;
  const length = Math.max(loaded.length_ns, (news.end_ms - loaded.begin_ms) * 1e6);
  const first = loaded.texts.length;
  loaded.texts.push(...news.texts);
  news.rows.forEach((row, place) => {
    for (const text of [STATE, TITLE, COMMAND, USER]) row[text] += first;
    row[BEGIN] += offset;
    row[END] += offset;
    const key = news.keys[place], known = byKey.get(key);
    row[PARENT] = byKey.get(news.parents[place]) ?? -1;
    if (known === undefined) {
      byKey.set(key, loaded.processes.length);
      loaded.processes.push(row);
      loaded.keys.push(key);
    } else if (news.is_partial[place]) {
      const before = loaded.processes[known];
      [before[END], before[KIND], before[STATE]] = [row[END], row[KIND], row[STATE]];
    } else {
      row[PARENT] = row[PARENT] < 0 ? loaded.processes[known][PARENT] : row[PARENT];
      loaded.processes[known] = row;
    }
  });
  for (const process of loaded.processes) if (process[KIND] === ALIVE) process[END] = length;
  loaded.length_ns = length;
  if (store) {
    store.end_ms = Math.max(store.end_ms, news.end_ms);
    store.event_count += news.event_count;
    store.losses.push(...news.losses);
    store.is_written = true;
    store.spans[store.spans.length - 1] += news.event_count;
  }
  if (news.keys.includes(chosen)) storyAsked = "";
  if (loaded.processes.length > MOST || loaded.texts.length > 5 * MOST) return void load();
  if (isShowing) return;
  isShowing = true;
  setTimeout(() => { isShowing = false; tellStore(); showLoaded(true); }, 500);
}

// --- keys and buttons ---
function find(words) {
  if (byId("search").value !== words) byId("search").value = words;
  matches = timeline.find(words);
  byId("found").textContent = matches ? `${matches.size.toLocaleString("en")} found` : "";
  paintTree();
}
byId("search").addEventListener("input", (event) => { find(event.target.value); writeAddress(); });
byId("search").addEventListener("keydown", (event) => {
  if (event.key === "Enter") timeline.nextMatch();
  if (event.key === "Escape") { find(""); writeAddress(); tree.focus(); }
});
byId("in").addEventListener("click", () => timeline.zoom(0.5));
byId("out").addEventListener("click", () => timeline.zoom(2));
byId("whole").addEventListener("click", timeline.showWhole);
byId("live").addEventListener("click", () => setLive(!isLive));
byId("help").addEventListener("click", () => byId("keys").showModal());
byId("close").addEventListener("click", () => byId("keys").close());
document.addEventListener("keydown", (event) => {
  const isTyping = ["INPUT", "TEXTAREA", "SELECT"].includes(event.target.tagName);
  if (isTyping || event.ctrlKey || event.metaKey || event.altKey) return;
  const keys = {
    "/": () => byId("search").focus(), "?": () => byId("keys").showModal(), l: () => setLive(!isLive),
    s: () => { showTab("SQL"); if (!saved) editor.focus(); },
  };
  if (!keys[event.key]) return;
  event.preventDefault();
  keys[event.key]();
});
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", paintStrip);
window.addEventListener("hashchange", () => { readAddress(); showTab(tab); load(); });

async function begin() {
  readAddress();
  if (saved) {
    for (const name of ["live", "save"]) byId(name).hidden = true;
    span = { since: saved.processes.begin_ms, until: saved.processes.begin_ms + saved.processes.length_ns / 1e6 };
    chosen ||= saved.key ?? "";
  }
  await loadStore();
  if (span.since === null && store) span.since = Math.max(store.since_ms ?? 0, store.begin_ms);
  await load();
  showTab(tab);
  if (tab === "SQL" && editor.value) askSql();
}
begin();
