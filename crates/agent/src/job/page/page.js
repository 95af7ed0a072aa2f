// The run, as the recorder wrote it.
const run = JSON.parse(document.getElementById("data").textContent);
const processes = run.processes;
const text = (index) => run.texts[index] ?? "?";

// --- what is chosen: one process, in all parts of the page ---
let chosen = -1;
const rowsOf = new Map();
function choose(index, goes) {
  for (const row of rowsOf.get(chosen) ?? []) row.classList.remove("chosen");
  chosen = index;
  for (const row of rowsOf.get(chosen) ?? []) row.classList.add("chosen");
  story(index);
  timeline.setChosen(index);
  if (goes) timeline.show(index);
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

// --- the timeline, and searching in it ---
const timeline = timelineIn(byId("timeline"), choose);
function search(words) {
  if (byId("search").value !== words) byId("search").value = words;
  const matches = timeline.find(words);
  byId("found").textContent = matches ? `${count(matches.size, "process", "processes")}; Enter goes to the next` : "";
}
byId("in").addEventListener("click", () => timeline.zoom(0.5));
byId("out").addEventListener("click", () => timeline.zoom(2));
byId("whole").addEventListener("click", timeline.showWhole);
byId("timeline").addEventListener("keydown", (event) => {
  if (event.key === "Escape") search("");
});
byId("search").addEventListener("input", (event) => search(event.target.value));
byId("search").addEventListener("keydown", (event) => {
  if (event.key === "Enter") timeline.nextMatch();
  if (event.key === "Escape") search("");
});
document.addEventListener("keydown", (event) => {
  if (event.key !== "/" || event.target === byId("search")) return;
  event.preventDefault();
  byId("search").focus();
});

timeline.load({
  processes, texts: run.texts, length: run.length_ns, outlined: run.chain.map(([index]) => index),
});
document.documentElement.dataset.ready = String(processes.length);
