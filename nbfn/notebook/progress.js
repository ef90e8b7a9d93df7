// The map widget. It shows what Python sent and says "cancel"; it decides nothing.
// Text from users goes through textContent only.

const STRIP_HEIGHT = 72;

function element(tag, className, parent, text) {
  const node = document.createElement(tag);
  if (className) node.className = `jp-nbfn-map-${className}`;
  if (text !== undefined) node.textContent = text;
  if (parent) parent.appendChild(node);
  return node;
}

export function clock(seconds) {
  if (seconds === null || seconds === undefined) return "—";
  const s = Math.round(seconds);
  const two = (n) => String(n).padStart(2, "0");
  const hours = Math.floor(s / 3600);
  const minutes = Math.floor(s / 60) % 60;
  return hours ? `${hours}:${two(minutes)}:${two(s % 60)}` : `${minutes}:${two(s % 60)}`;
}

const number = (n) => n.toLocaleString("en-US");

/** What each line says; kept apart from the page so that it can be tested. */
export function lines(view) {
  const total = view.total === null ? "?" : number(view.total);
  const counts = ["failed", "retrying", "queued", "running"]
    .filter((key) => view[key] || key === "failed")
    .map((key) => `${key} ${number(view[key])}`);
  const starting = view.starting ? ` (+${view.starting} starting)` : "";
  const pace = [
    view.rate === null ? "" : `${number(Math.round(view.rate * 10) / 10)} items/s`,
    clock(view.elapsed),
    view.ended ? "" : `left about ${clock(view.left)}`,
    `workers ${view.workers}${starting}`,
  ];
  return {
    done: `${number(view.done)} / ${total}`,
    counts: counts.join(" · "),
    pace: pace.filter(Boolean).join(" · "),
    value: `${number(view.done)} of ${total} done, ${number(view.failed)} failed`,
  };
}

/** Columns, rows and size of the strip's cells for so many inputs in so many pixels. */
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
    waiting: pick("--jp-layout-color3", "#bdbdbd"),
    done: pick("--jp-success-color1", "#388e3c"),
    failed: pick("--jp-error-color1", "#d32f2f"),
  };
}

function paint(canvas, bytes) {
  const box = getComputedStyle(canvas.parentElement);
  const padding = parseFloat(box.paddingLeft) + parseFloat(box.paddingRight) || 0;
  const width = canvas.parentElement.clientWidth - padding || 600;
  const { columns, rows, size } = grid(bytes.length, width);
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
  for (let i = 0; i < bytes.length; i++) {
    const x = (i % columns) * size;
    const y = Math.floor(i / columns) * size;
    pen.globalAlpha = 1;
    pen.fillStyle = bytes[i] === 255 ? colour.failed : colour.waiting;
    pen.fillRect(x, y, side, side);
    if (bytes[i] > 0 && bytes[i] < 255) {
      pen.globalAlpha = bytes[i] / 100;
      pen.fillStyle = colour.done;
      pen.fillRect(x, y, side, side);
    }
  }
}

function section(parent, name) {
  const box = element("details", "section", parent);
  const label = element("summary", "", box);
  const body = element("div", `${name}`, box);
  return { box, label, body };
}

function showErrors(part, groups, failed) {
  part.box.hidden = groups.length === 0;
  const plural = groups.length === 1 ? "group" : "groups";
  part.label.textContent = `Errors (${number(failed)} in ${groups.length} ${plural})`;
  part.body.replaceChildren();
  for (const group of groups) {
    const row = element("div", "error", part.body);
    element("span", "error-count", row, `${number(group.count)}×`);
    element("span", "error-text", row, `${group.kind}: ${group.message}`);
    element("span", "muted", row, group.where);
  }
}

function showLog(part, text, count) {
  part.box.hidden = count === 0;
  part.label.textContent = `Logs (${number(count)} ${count === 1 ? "line" : "lines"})`;
  const atEnd = part.body.scrollTop + part.body.clientHeight >= part.body.scrollHeight - 4;
  part.body.textContent = text;
  if (atEnd) part.body.scrollTop = part.body.scrollHeight;
}

function build(el) {
  const root = element("div", "root", el);
  const head = element("div", "head", root);
  const parts = { root };
  parts.name = element("b", "name", head);
  parts.app = element("span", "muted", head);
  parts.state = element("span", "state", head);
  parts.dot = element("span", "dot", parts.state);
  parts.dot.setAttribute("aria-hidden", "true");
  parts.word = element("span", "", parts.state);
  parts.word.setAttribute("role", "status");
  parts.call = element("code", "muted", head);
  parts.cancel = element("button", "cancel", head, "Cancel");
  parts.cancel.type = "button";
  parts.bar = element("div", "bar", root);
  parts.bar.setAttribute("role", "progressbar");
  parts.bar.setAttribute("aria-valuemin", "0");
  parts.fill = element("div", "fill", parts.bar);
  parts.bad = element("div", "bad", parts.bar);
  const row = element("div", "row", root);
  parts.done = element("b", "", row);
  parts.counts = element("span", "", row);
  parts.pace = element("div", "muted", root);
  parts.why = element("div", "why", root);
  parts.canvas = element("canvas", "strip", root);
  parts.canvas.setAttribute("role", "img");
  parts.errors = section(root, "errors");
  parts.log = section(root, "log");
  return parts;
}

function show(parts, view) {
  const said = lines(view);
  parts.name.textContent = view.name;
  parts.app.textContent = view.app;
  parts.word.textContent = view.state;
  parts.dot.dataset.state = view.state;
  parts.call.textContent = view.call;
  parts.done.textContent = said.done;
  parts.counts.textContent = said.counts;
  parts.pace.textContent = said.pace;
  parts.why.textContent = view.why;
  parts.why.hidden = !view.why;
  parts.cancel.hidden = view.ended;
  const share = (n) => `${view.total ? (100 * n) / view.total : 0}%`;
  parts.fill.style.width = share(view.done - view.failed);
  parts.bad.style.width = share(view.failed);
  parts.bar.classList.toggle("jp-nbfn-map-unknown", view.total === null);
  parts.bar.setAttribute("aria-label", `${view.name} map`);
  parts.bar.setAttribute("aria-valuetext", said.value);
  if (view.total === null) parts.bar.removeAttribute("aria-valuenow");
  else {
    parts.bar.setAttribute("aria-valuemax", String(view.total));
    parts.bar.setAttribute("aria-valuenow", String(view.done));
  }
  parts.canvas.setAttribute("aria-label", `One cell per input: ${said.value}`);
}

function bytesOf(value) {
  if (!value) return new Uint8Array();
  return value.buffer ? new Uint8Array(value.buffer, value.byteOffset, value.byteLength) : new Uint8Array(value);
}

function render({ model, el }) {
  const parts = build(el);
  const update = () => show(parts, model.get("view"));
  const strip = () => paint(parts.canvas, bytesOf(model.get("strip")));
  const errors = () => showErrors(parts.errors, model.get("errors"), model.get("view").failed);
  const log = () => showLog(parts.log, model.get("log"), model.get("view").lines);
  const changes = { view: update, strip, errors, log };
  for (const [name, act] of Object.entries(changes)) model.on(`change:${name}`, act);
  parts.cancel.addEventListener("click", () => {
    parts.cancel.disabled = true;
    parts.cancel.textContent = "Cancelling…";
    model.send({ type: "cancel" });
  });
  const width = new ResizeObserver(strip);
  width.observe(parts.root);
  for (const act of Object.values(changes)) act();
  return () => {
    width.disconnect();
    for (const [name, act] of Object.entries(changes)) model.off(`change:${name}`, act);
  };
}

export default { render };
