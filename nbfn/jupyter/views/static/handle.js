// The widget of a spawned call. It shows the data from Python and sends the names of pressed buttons.

const { element, pressable, mark } = maker("handle");

const LABELS = {
  retry: "Retry", replay: "Replay here", get: "Get", cancel: "Cancel", logs: "Logs", "copy-id": "Copy id", "copy-code": "Copy code",
};

/** Returns the buttons of a call in this state. */
export function buttons(view) {
  const useless = view.ended ? ["cancel", "get"] : ["retry", "replay"];
  if (!view.replayable) useless.push("replay");
  return Object.keys(LABELS).filter((name) => !useless.includes(name));
}

function build(el, model) {
  const root = element("div", "root", el);
  const head = element("div", "head", root);
  const parts = { root, buttons: {} };
  parts.mark = mark(head);
  parts.title = element("b", "", head);
  parts.said = element("span", "said", head);
  parts.said.setAttribute("role", "status");
  const row = element("span", "buttons", head);
  for (const [name, label] of Object.entries(LABELS)) {
    parts.buttons[name] = pressable(row, label, (button) => {
      const view = model.get("view");
      if (name === "copy-id") copy(button, view.call);
      else if (name === "copy-code") copy(button, view.code);
      else if (name === "replay") replayHere(button, view.call, 0);
      else {
        button.disabled = name !== "logs";
        model.send({ type: name });
      }
    });
  }
  parts.result = element("div", "code", root);
  parts.logs = element("pre", "logs", root);
  parts.note = element("div", "muted", root);
  return parts;
}

function render({ model, el }) {
  const parts = build(el, model);
  const update = () => {
    const view = model.get("view");
    setMark(parts.mark, { mark: view.mark, state: view.look });
    parts.buttons.retry.textContent = view.retry || LABELS.retry;
    parts.title.textContent = view.title;
    parts.said.textContent = view.said.join(" · ");
    parts.result.textContent = view.result;
    parts.result.hidden = !view.result;
    parts.logs.textContent = view.logs;
    parts.logs.hidden = !view.logs;
    parts.buttons.logs.setAttribute("aria-expanded", String(Boolean(view.logs)));
    parts.note.textContent = view.note;
    parts.note.hidden = !view.note;
    const there = buttons(view);
    for (const [name, button] of Object.entries(parts.buttons)) {
      if (button.hidden && there.includes(name)) button.disabled = false;
      button.hidden = !there.includes(name);
    }
  };
  model.on("change:view", update);
  update();
  return () => model.off("change:view", update);
}

export default { render };
