// The card of a Function or class: a stepper for warm workers, a form to call it, code to import it.

const { element, pressable } = maker("function");

/** Returns the HTML element of a form field. */
export function control(field) {
  if (field.kind === "bool") return { tag: "input", type: "checkbox" };
  if (field.kind === "choice") return { tag: "select" };
  if (field.kind === "int") return { tag: "input", type: "number", step: "1" };
  if (field.kind === "float") return { tag: "input", type: "number", step: "any" };
  return { tag: "input", type: "text" };
}

/** Returns the placeholder of an empty field. */
export function hint(field) {
  if (field.role === "args") return "a list: [1, 2]";
  if (field.role === "kwargs") return "a dict: {'x': 1}";
  if (field.kind === "expression") return field.about ? `${field.about}: an expression or JSON` : "an expression or JSON";
  return "";
}

function inputOf(field, id) {
  const { tag, type, step } = control(field);
  const input = element(tag, "input");
  input.id = id;
  if (type) input.type = type;
  if (step) input.step = step;
  if (field.kind === "bool") input.checked = field.default === "True";
  else if (field.kind === "choice") {
    for (const choice of field.choices) element("option", "", input, choice).value = choice;
    if (field.default !== null) input.value = field.default;
  } else {
    input.value = field.default ?? "";
    input.placeholder = hint(field);
  }
  return input;
}

function buildForm(parts, model) {
  const { form } = parts;
  const serial = Math.random().toString(36).slice(2);
  for (const field of model.get("view").fields) {
    const id = `nbfn-${serial}-${field.name}`;
    const label = element("label", "label", form, field.name);
    label.htmlFor = id;
    element("span", "muted", label, field.about ? ` ${field.about}` : "");
    const input = inputOf(field, id);
    form.appendChild(input);
    parts.inputs.set(field.name, input);
  }
  parts.run = element("button", "button", form, "Run");
  parts.run.type = "submit";
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    const values = {};
    for (const [name, input] of parts.inputs) values[name] = input.type === "checkbox" ? input.checked : input.value;
    parts.run.disabled = true;
    parts.run.textContent = "Running…";
    model.send({ type: "call", values });
  });
  // The notebook's keyboard shortcuts must not apply in the form.
  form.addEventListener("keydown", (event) => event.stopPropagation());
}

function buildStepper(parts, model) {
  const box = element("span", "stepper", parts.buttons);
  box.setAttribute("role", "group");
  box.setAttribute("aria-label", "Workers kept warm");
  element("span", "muted", box, "warm");
  const step = (by) => {
    // Python adds the steps to the pool's real number, which another process may have changed.
    const now = model.get("view").warm ?? 0;
    parts.by = Math.max(-now, (parts.by ?? 0) + by);
    parts.count.textContent = String(now + parts.by);
    clearTimeout(parts.timer);
    parts.timer = setTimeout(() => {
      if (parts.by) model.send({ type: "warm", by: parts.by });
      parts.by = 0;
    }, 250);
  };
  pressable(box, "−", () => step(-1)).setAttribute("aria-label", "One worker fewer");
  parts.count = element("b", "count", box);
  parts.count.setAttribute("aria-live", "polite");
  pressable(box, "+", () => step(1)).setAttribute("aria-label", "One worker more");
  parts.stepper = box;
}

function build(el, model) {
  const root = element("div", "root", el);
  const head = element("div", "head", root);
  const parts = { inputs: new Map() };
  parts.title = element("b", "", head);
  parts.app = element("span", "muted", head);
  parts.buttons = element("span", "buttons", head);
  buildStepper(parts, model);
  parts.open = pressable(parts.buttons, "Call…", () => {
    parts.form.hidden = !parts.form.hidden;
    parts.open.setAttribute("aria-expanded", String(!parts.form.hidden));
    if (!parts.form.hidden) (parts.form.querySelector("input, select, button"))?.focus();
  });
  parts.open.setAttribute("aria-expanded", "false");
  parts.copy = pressable(parts.buttons, "Copy import", (button) => copy(button, model.get("view").imports));
  parts.call = element("div", "code", root);
  parts.methods = element("div", "", root);
  parts.doc = element("div", "muted", root);
  parts.url = element("a", "url", root);
  parts.url.target = "_blank";
  parts.url.rel = "noopener noreferrer";
  parts.pool = element("div", "muted", root);
  parts.form = element("form", "form", root);
  parts.form.hidden = true;
  buildForm(parts, model);
  parts.result = element("pre", "code", root);
  parts.note = element("div", "note", root);
  parts.note.setAttribute("role", "status");
  return parts;
}

function show(parts, view) {
  parts.title.textContent = view.title;
  parts.app.textContent = view.app;
  parts.call.textContent = view.call;
  parts.methods.replaceChildren();
  for (const method of view.methods) element("div", "code", parts.methods, method);
  parts.doc.textContent = view.doc;
  parts.doc.hidden = !view.doc;
  parts.url.textContent = view.url;
  parts.url.hidden = !/^https?:\/\//.test(view.url);
  if (!parts.url.hidden) parts.url.href = view.url;
  parts.pool.textContent = view.pool;
  parts.stepper.hidden = view.warm === null;
  parts.count.textContent = String(Math.max(0, (view.warm ?? 0) + (parts.by ?? 0)));
  parts.open.hidden = !view.callable;
  parts.copy.hidden = !view.imports;
  parts.run.disabled = view.busy;
  parts.run.textContent = view.busy ? "Running…" : "Run";
  parts.result.textContent = view.result;
  parts.result.hidden = !view.result;
  parts.note.textContent = view.note;
  parts.note.hidden = !view.note;
}

function render({ model, el }) {
  const parts = build(el, model);
  const update = () => show(parts, model.get("view"));
  model.on("change:view", update);
  update();
  return () => {
    clearTimeout(parts.timer);
    model.off("change:view", update);
  };
}

export default { render };
