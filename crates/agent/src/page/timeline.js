// A timeline of processes: a bar each, under the one that started it. `box` has a canvas and, behind it, what
// gives it its height; `choose_fn` is told the place of the process that was chosen, or -1.
const LANE = 18, BAR = 15, RULER = 22;
function timelineIn(box, choose_fn) {
  const canvas = box.querySelector("canvas"), pen = canvas.getContext("2d");
  const height = box.querySelector(".height");
  let processes = [], texts = [], gaps = [];
  let outlined = new Set();
  let lanes = [], laneOf = [], byBegin = [];
  let whole = 1, from = 0, to = 1;
  let matches = null, chosen = -1;
  let colours = {};
  let nameTime = since, origin = 0;
  const text = (index) => texts[index] ?? "?";

  // Marks of the ruler stand at round numbers from `origin` before the begin.
  // What is shown: `processes` and their `texts`, those of them that are `outlined`, `gaps` in which something
  // was lost (begin, end, words), the `length` of the whole, and, where not all are to have a bar, those that have.
  function load(data) {
    // Whoever looks closer goes on looking there, and whoever looks at all of it sees what is new.
    const isClose = data.stays && (from > 0 || to < whole);
    ({ processes, texts } = data);
    gaps = data.gaps ?? [];
    outlined = new Set(data.outlined ?? []);
    nameTime = data.nameTime ?? since;
    origin = data.origin ?? 0;
    [matches, chosen] = [null, -1];
    pack(data.has_bar ?? (() => true));
    height.style.height = `${lanes.length * LANE + RULER}px`;
    box.style.height = `${Math.max(lanes.length, 3) * LANE + RULER + 8}px`;
    whole = Math.max(1, data.length);
    if (!isClose) showWhole();
    draw();
  }

  // Each in the first lane below its parent's that is free then: who was there together is never in one.
  function pack(has_bar) {
    lanes = [];
    laneOf = new Array(processes.length).fill(-1);
    byBegin = processes.map((_, index) => index).filter(has_bar).sort((a, b) =>
      processes[a][BEGIN] - processes[b][BEGIN] || processes[b][END] - processes[a][END]);
    const ends = [];
    for (const index of byBegin) {
      const [begin, end, parent] = [processes[index][BEGIN], processes[index][END], processes[index][PARENT]];
      let lane = parent < 0 ? 0 : laneOf[parent] + 1;
      while (lane < ends.length && ends[lane] > begin) lane += 1;
      while (ends.length <= lane) { ends.push(-Infinity); lanes.push([]); }
      ends[lane] = Math.max(end, begin + 1);
      laneOf[index] = lane;
      lanes[lane].push(index);
    }
  }

  function readColours() {
    const style = getComputedStyle(document.documentElement);
    for (const name of ["text", "faint", "bar", "bad", "alive", "chain", "dim", "chosen", "line", "raised", "gap"]) {
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
      height.style.marginTop = `-${high}px`;
    }
    pen.setTransform(scale, 0, 0, scale, 0, 0);
    pen.fillStyle = colours.raised;
    pen.fillRect(0, 0, wide, high);
    pen.font = "12px system-ui, 'DejaVu Sans', sans-serif";
    pen.textBaseline = "middle";
    const first = Math.max(0, Math.floor((box.scrollTop - RULER) / LANE));
    const last = Math.min(lanes.length - 1, Math.ceil((box.scrollTop + high) / LANE));
    for (let lane = first; lane <= last; lane += 1) paintLane(lanes[lane], RULER + lane * LANE - box.scrollTop);
    for (const gap of gaps) paintGap(gap, high);
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
    if (outlined.has(index) || index === chosen) {
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

  // Hatched from the top to the bottom, so that nobody takes it for a time in which nothing happened.
  function paintGap([begin, end, words], high) {
    if (end < from || begin > to) return;
    const left = Math.max(-8, x(begin));
    const right = Math.min(width() + 8, Math.max(x(end), left + 4));
    pen.save();
    pen.beginPath();
    pen.rect(left, RULER, right - left, high);
    pen.clip();
    pen.globalAlpha = 0.28;
    pen.fillStyle = colours.gap;
    pen.fillRect(left, RULER, right - left, high);
    pen.globalAlpha = 0.8;
    pen.strokeStyle = colours.gap;
    pen.lineWidth = 1;
    pen.beginPath();
    for (let at = left - high; at < right; at += 6) {
      pen.moveTo(at, RULER + high);
      pen.lineTo(at + high, RULER);
    }
    pen.stroke();
    pen.restore();
    pen.fillStyle = colours.text;
    const beside = Math.min(right + 4, width() - pen.measureText(words).width - 4);
    pen.fillText(words, Math.max(4, beside), high - 9);
  }

  function ruler(wide) {
    pen.fillStyle = colours.raised;
    pen.fillRect(0, 0, wide, RULER - 3);
    const wanted = (to - from) / Math.max(2, wide / 130);
    const step = stepOf(wanted);
    pen.fillStyle = colours.faint;
    pen.strokeStyle = colours.line;
    pen.lineWidth = 1;
    for (let time = Math.ceil((from + origin) / step) * step - origin; time <= to; time += step) {
      const at = Math.round(x(time)) + 0.5;
      pen.beginPath();
      pen.moveTo(at, RULER - 6);
      pen.lineTo(at, RULER - 2);
      pen.stroke();
      const words = nameTime(Math.round(time), step);
      if (at + 3 + pen.measureText(words).width < wide) pen.fillText(words, at + 3, (RULER - 6) / 2 + 1);
    }
  }

  // Steps that people count in: of seconds and more those of a clock, where times of the day are named.
  function stepOf(wanted) {
    const clock = [1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 14400, 21600, 43200, 86400];
    const ofClock = nameTime === since || wanted < 5e8 ? undefined : clock.find((one) => one * 1e9 >= wanted);
    const power = 10 ** Math.floor(Math.log10(wanted));
    return ofClock * 1e9 || [1, 2, 5, 10].map((factor) => factor * power).find((one) => one >= wanted) || wanted;
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
    if (!process || laneOf[index] < 0) return;
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
  function setChosen(index) {
    chosen = index;
    draw();
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

  // Finds processes by their words or their id; those that are not found are dim.
  function find(words) {
    const wanted = words.trim().toLowerCase();
    if (!wanted) {
      matches = null;
    } else {
      const has = texts.map((one) => one.toLowerCase().includes(wanted));
      matches = new Set(byBegin.filter((index) => {
        const process = processes[index];
        return has[process[TITLE]] || has[process[COMMAND]] || has[process[USER]] || String(process[ID]) === wanted;
      }));
    }
    draw();
    return matches;
  }
  function nextMatch() {
    if (!matches || !matches.size) return;
    const all = [...matches];
    choose_fn(all[(all.indexOf(chosen) + 1) % all.length], true);
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
    if (dragged && !dragged.moved) choose_fn(at(event), false);
    dragged = null;
  });
  canvas.addEventListener("pointercancel", () => { dragged = null; });
  box.addEventListener("keydown", (event) => {
    const keys = {
      "+": () => zoom(0.5), "=": () => zoom(0.5), "-": () => zoom(2), "0": showWhole,
      ArrowLeft: () => move((from - to) / 8), ArrowRight: () => move((to - from) / 8),
      Enter: nextMatch,
    };
    const act = keys[event.key];
    if (!act || event.ctrlKey || event.metaKey) return;
    event.preventDefault();
    act();
  });
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => { readColours(); draw(); });
  new ResizeObserver(draw).observe(box);
  readColours();
  return { load, draw, zoom, show, showWhole, setChosen, find, nextMatch };
}
