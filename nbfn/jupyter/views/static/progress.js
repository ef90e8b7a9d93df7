// The map widget. It shows the data from Python and sends the names of pressed buttons.

const STRIP_HEIGHT = 72;
const { element, pressable, mark } = maker("map");

export function clock(seconds) {
  if (seconds === null || seconds === undefined) return "—";
  const s = Math.round(seconds);
  const two = (n) => String(n).padStart(2, "0");
  const hours = Math.floor(s / 3600);
  const minutes = Math.floor(s / 60) % 60;
  return hours ? `${hours}:${two(minutes)}:${two(s % 60)}` : `${minutes}:${two(s % 60)}`;
}

/** Formats the duration of an input. */
export function seconds(value) {
  if (value >= 60) return clock(value);
  return value >= 0.01 || value === 0 ? `${value} s` : `${Number((value * 1000).toPrecision(2))} ms`;
}

/** Formats a number of bytes with a unit. */
export function bytes(value) {
  if (value === null || value === undefined) return "—";
  return value >= 2 ** 30 ? `${(value / 2 ** 30).toFixed(1)} GB` : `${Math.round(value / 2 ** 20)} MB`;
}

/** Returns the lines of a log that contain a text, ignoring case. */
export function filtered(text, wanted) {
  if (!wanted) return text;
  const low = wanted.toLowerCase();
  return text.split("\n").filter((line) => line.toLowerCase().includes(low)).join("\n");
}

const number = (n) => n.toLocaleString("en-US");

/** Returns the text of each line; separate from the DOM so that it can be tested. */
export function lines(view) {
  const total = view.total === null ? "?" : number(view.total);
  const counts = Object.entries(view.counts)
    .filter(([, count]) => count)
    .map(([state, count]) => `${number(count)} ${state}`);
  if (view.retrying) counts.push(`${number(view.retrying)} of them to be retried`);
  const starting = view.starting ? ` (+${view.starting} starting)` : "";
  const pace = [
    view.rate,
    view.elapsed,
    view.left,
    view.p50 === null ? "" : `p50 ${seconds(view.p50)}`,
    view.p95 === null ? "" : `p95 ${seconds(view.p95)}`,
    `workers ${view.workers}${starting}`,
  ];
  return {
    done: `${number(view.done)} / ${total}`,
    counts: counts.join(" · "),
    pace: pace.filter(Boolean).join(" · "),
    value: `${number(view.done)} of ${total} done, ${counts.join(", ")}`,
  };
}

/** Returns columns, rows and cell size of a heat strip with this number of cells and this width. */
export function grid(count, width, height = STRIP_HEIGHT) {
  for (let size = 12; size > 2; size--) {
    const columns = Math.max(1, Math.floor(width / size));
    const rows = Math.ceil(count / columns);
    if (rows * size <= height || size === 3) return { columns, rows, size };
  }
  return { columns: 1, rows: count, size: 3 };
}

function colours(node) {
  const style = getComputedStyle(node);
  const pick = (name, other) => style.getPropertyValue(name).trim() || other;
  return {
    waiting: pick("--jp-layout-color2", "#e0e0e0"),
    done: pick("--jp-success-color1", "#388e3c"),
    failed: pick("--jp-error-color1", "#d32f2f"),
    cancelled: pick("--jp-warn-color1", "#e65100"),
  };
}

/** Returns the shares of one cell of the heat strip from the bottom: [name of the colour, percentage]. */
export function shares(bytes, cell) {
  return ["done", "failed", "cancelled"]
    .map((name, i) => [name, bytes[3 * cell + i]])
    .filter(([, share]) => share > 0);
}

function paint(canvas, bytes) {
  const box = getComputedStyle(canvas.parentElement);
  const padding = parseFloat(box.paddingLeft) + parseFloat(box.paddingRight) || 0;
  const width = canvas.parentElement.clientWidth - padding || 600;
  const count = bytes.length / 3;
  const { columns, rows, size } = grid(count, width);
  const scale = window.devicePixelRatio || 1;
  canvas.width = columns * size * scale;
  canvas.height = rows * size * scale;
  canvas.style.width = `${columns * size}px`;
  canvas.style.height = `${rows * size}px`;
  const pen = canvas.getContext("2d");
  if (!pen) return;
  pen.scale(scale, scale);
  const colour = colours(canvas);
  const side = size > 4 ? size - 1 : size - 0.5;
  for (let i = 0; i < count; i++) {
    const x = (i % columns) * size;
    const y = Math.floor(i / columns) * size;
    pen.fillStyle = colour.waiting;
    pen.fillRect(x, y, side, side);
    let bottom = y + side;
    for (const [name, share] of shares(bytes, i)) {
      const height = (side * share) / 100;
      pen.fillStyle = colour[name];
      pen.fillRect(x, bottom - height, side, height);
      bottom -= height;
    }
  }
}

function section(parent, name) {
  const box = element("details", "section", parent);
  const label = element("summary", "", box);
  const body = element("div", `${name}`, box);
  return { box, label, body };
}

function errorRow(part, group, model) {
  const row = element("div", "error", part.body);
  element("span", "error-count", row);
  element("span", "error-text", row, `${group.kind}: ${group.message}`);
  element("span", "muted", row, [group.where, group.inputs].filter(Boolean).join(" · "));
  const actions = element("span", "buttons", row);
  if (group.traced) {
    const button = pressable(actions, "Traceback", () => {
      const shown = row.querySelector("pre");
      button.setAttribute("aria-expanded", String(!shown));
      if (shown) shown.remove();
      else model.send({ type: "traceback", group: group.group });
    });
    button.setAttribute("aria-expanded", "false");
  }
  const replay = pressable(actions, "Replay here", (button) => replayHere(button, model.get("view").id, group.group));
  replay.title = `Run input ${group.group} in this notebook's kernel, in a new cell`;
  row.retry = pressable(actions, "", (button) => {
    button.disabled = true;
    model.send({ type: "retry", group: group.group });
  });
  return row;
}

// Rows are reused by group, so that a traceback stays open and a button is not replaced under the mouse.
function showErrors(part, groups, model) {
  const { counts, buttons } = model.get("view");
  part.box.hidden = groups.length === 0;
  const plural = groups.length === 1 ? "group" : "groups";
  part.label.textContent = `Errors (${number(counts.failed)} in ${groups.length} ${plural})`;
  const before = part.rows;
  part.rows = new Map();
  for (const group of groups) {
    const row = before.get(group.group) ?? errorRow(part, group, model);
    row.querySelector(".jp-nbfn-map-error-count").textContent = `${number(group.count)}×`;
    if (row.count !== group.count) row.retry.disabled = false;
    row.count = group.count;
    row.retry.textContent = `Retry ${number(group.count)}`;
    row.retry.hidden = !buttons.includes("retry");
    part.rows.set(group.group, row);
    before.delete(group.group);
  }
  for (const row of before.values()) row.remove();
}

function showTraceback(part, said) {
  const row = part.rows.get(said.group);
  if (row && !row.querySelector("pre")) element("pre", "trace", row, said.text);
}

function showLog(part, text, count) {
  part.box.hidden = count === 0;
  part.label.textContent = `Logs (${number(count)} ${count === 1 ? "line" : "lines"})`;
  const atEnd = part.body.scrollTop + part.body.clientHeight >= part.body.scrollHeight - 4;
  part.body.textContent = filtered(text, part.filter.value) || "No line has that.";
  if (atEnd) part.body.scrollTop = part.body.scrollHeight;
}

function showWorkers(part, rows) {
  part.body.replaceChildren();
  if (!rows.length) {
    element("span", "muted", part.body, "No workers now.");
    return;
  }
  const table = element("table", "crew", part.body);
  const head = element("tr", "", element("thead", "", table));
  for (const name of ["worker", "pid", "state", "memory"]) element("th", "", head, name);
  const body = element("tbody", "", table);
  for (const row of rows) {
    const line = element("tr", "", body);
    for (const value of [row.id, row.pid || "—", row.state, bytes(row.memory)]) element("td", "", line, value);
  }
}

const BUTTONS = { retry: "Retry", detach: "Detach", cancel: "Cancel" };
const PRESSED = { retry: "Running again…", detach: "Detaching…", cancel: "Cancelling…" };

function build(el, model) {
  const root = element("div", "root", el);
  const head = element("div", "head", root);
  const parts = { root };
  parts.name = element("b", "name", head);
  parts.app = element("span", "muted", head);
  parts.state = element("span", "state", head);
  parts.mark = mark(parts.state);
  parts.word = element("span", "", parts.state);
  parts.word.setAttribute("role", "status");
  parts.call = element("code", "muted", head);
  parts.copy = pressable(head, "", (button) => copy(button, parts.call.title));
  parts.copy.classList.add("jp-nbfn-map-copy");
  parts.copy.title = "Copy id";
  parts.copy.setAttribute("aria-label", "Copy id");
  parts.buttons = {};
  const row0 = element("span", "buttons", head);
  for (const name of Object.keys(BUTTONS)) {
    parts.buttons[name] = pressable(row0, BUTTONS[name], (button) => {
      button.disabled = true;
      button.textContent = PRESSED[name];
      model.send({ type: name });
    });
  }
  parts.timeline = pressable(row0, "Timeline", (button) => {
    askLab(button, "timeline", { call: model.get("view").id });
  });
  parts.timeline.title = "Show what the workers did when";
  parts.timeline.hidden = !inLab();
  parts.bar = element("div", "bar", root);
  parts.bar.setAttribute("role", "progressbar");
  parts.bar.setAttribute("aria-valuemin", "0");
  parts.fill = element("div", "fill", parts.bar);
  parts.bad = element("div", "bad", parts.bar);
  parts.busy = element("div", "busy", parts.bar);
  parts.row = element("div", "row", root);
  parts.done = element("b", "", parts.row);
  parts.counts = element("span", "", parts.row);
  parts.pace = element("div", "muted", root);
  parts.why = element("div", "why", root);
  setMark(mark(parts.why), { mark: "▲", state: "warning" });
  parts.reason = element("span", "", parts.why);
  parts.note = element("div", "note", root);
  parts.note.setAttribute("role", "status");
  parts.canvas = element("canvas", "strip", root);
  parts.canvas.setAttribute("role", "img");
  parts.errors = section(root, "errors");
  parts.errors.rows = new Map();
  parts.log = section(root, "log");
  parts.log.filter = element("input", "input");
  parts.log.filter.type = "search";
  parts.log.filter.placeholder = "Filter";
  parts.log.filter.setAttribute("aria-label", "Show log lines that hold this");
  parts.log.box.insertBefore(parts.log.filter, parts.log.body);
  parts.workers = section(root, "workers");
  parts.workers.label.textContent = "Workers";
  return parts;
}

function show(parts, view) {
  const said = lines(view);
  parts.name.textContent = view.name;
  parts.app.textContent = view.app;
  parts.word.textContent = view.ended ? view.summary : view.state;
  setMark(parts.mark, { mark: view.mark, state: view.look });
  parts.call.textContent = view.call;
  parts.call.title = view.id;
  parts.done.textContent = said.done;
  parts.counts.textContent = said.counts;
  parts.pace.textContent = said.pace;
  parts.reason.textContent = view.why;
  parts.why.hidden = !view.why;
  for (const [name, button] of Object.entries(parts.buttons)) {
    const hidden = !view.buttons.includes(name);
    if (name === "retry" && (hidden || parts.failed !== view.repeatable || view.note !== parts.said)) {
      button.disabled = false;
      button.textContent = view.retry;
    }
    button.hidden = hidden;
  }
  parts.failed = view.repeatable;
  parts.said = view.note;
  parts.note.textContent = view.note;
  parts.note.hidden = !view.note;
  for (const part of ["name", "app", "call", "copy", "bar", "row", "pace"]) parts[part].hidden = view.ended;
  parts.canvas.hidden = view.ended || !parts.cells;
  parts.workers.box.hidden = view.ended;
  parts.state.classList.toggle("jp-nbfn-map-last", view.ended);
  const share = (n) => `${view.total ? (100 * n) / view.total : 0}%`;
  parts.fill.style.width = share(view.counts.succeeded);
  parts.bad.style.width = share(view.counts.failed);
  parts.busy.style.width = share(view.counts.running);
  parts.bar.classList.toggle("jp-nbfn-map-unknown", view.total === null);
  parts.bar.setAttribute("aria-label", `${view.name} map`);
  parts.bar.setAttribute("aria-valuetext", said.value);
  if (view.total === null) parts.bar.removeAttribute("aria-valuenow");
  else {
    parts.bar.setAttribute("aria-valuemax", String(view.total));
    parts.bar.setAttribute("aria-valuenow", String(view.done));
  }
  parts.canvas.setAttribute("aria-label", `The inputs in their order: ${said.value}`);
}

function bytesOf(value) {
  if (!value) return new Uint8Array();
  return value.buffer ? new Uint8Array(value.buffer, value.byteOffset, value.byteLength) : new Uint8Array(value);
}

function render({ model, el }) {
  const parts = build(el, model);
  const update = () => show(parts, model.get("view"));
  const strip = () => {
    const cells = bytesOf(model.get("strip"));
    const { ended } = model.get("view");
    parts.cells = cells.length;
    parts.canvas.hidden = ended || !parts.cells;
    if (!parts.canvas.hidden) paint(parts.canvas, cells);
  };
  const errors = () => showErrors(parts.errors, model.get("errors"), model);
  const log = () => showLog(parts.log, model.get("log"), model.get("view").lines);
  const workers = () => showWorkers(parts.workers, model.get("workers"));
  const changes = { view: update, strip, errors, log, workers };
  for (const [name, act] of Object.entries(changes)) model.on(`change:${name}`, act);
  const told = (said) => { if (said.type === "traceback") showTraceback(parts.errors, said); };
  model.on("msg:custom", told);
  parts.log.filter.addEventListener("input", log);
  parts.workers.box.addEventListener("toggle", () => {
    model.send({ type: "workers", open: parts.workers.box.open });
  });
  const width = new ResizeObserver(strip);
  width.observe(parts.root);
  const theme = new MutationObserver(strip);  // a canvas does not follow the style sheet
  theme.observe(document.body, { attributes: true });
  for (const act of Object.values(changes)) act();
  return () => {
    width.disconnect();
    theme.disconnect();
    if (parts.workers.box.open) model.send({ type: "workers", open: false });
    model.off("msg:custom", told);
    for (const [name, act] of Object.entries(changes)) model.off(`change:${name}`, act);
  };
}

export default { render };
