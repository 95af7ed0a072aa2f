"use strict";

// What the pages have in common. What they say of a process is a list, see `Row` in page.rs; text of somebody
// else's becomes text of the page and nothing else: `textContent` alone.
const [ID, PARENT, BEGIN, END, KIND, STATE, TITLE, COMMAND, USER, CPU] = [0, 1, 2, 3, 4, 5, 6, 7, 8, 9];
const FAILED = 1, ALIVE = 2;

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

// Fills the table of a section, of long ones the beginning.
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
