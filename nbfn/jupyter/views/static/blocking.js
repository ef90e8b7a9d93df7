// The widget of the calls that a cell waits for. It shows the data from Python and sends the call whose Cancel is pressed.

const { element, pressable, mark } = maker("blocking");

function buildRow(el, model, call) {
  const row = element("div", "head", el);
  const parts = { row, mark: mark(row) };
  parts.title = element("b", "", row);
  parts.said = element("span", "said", row);
  parts.cancel = pressable(element("span", "buttons", row), "Cancel", (button) => {
    button.disabled = true;
    model.send({ type: "cancel", call });
  });
  return parts;
}

function showRow(parts, view) {
  setMark(parts.mark, view);
  parts.title.textContent = view.title;
  parts.said.textContent = view.said.join(" · ");
  parts.cancel.setAttribute("aria-label", `Cancel ${view.title} ${view.call}`);
  parts.cancel.disabled = parts.cancel.disabled || view.cancelling;
}

function render({ model, el }) {
  const root = element("div", "root", el);
  const live = element("div", "rows", root);
  const more = element("div", "muted", root);
  const ended = element("div", "head", root);
  const endedMark = mark(ended);
  const endedText = element("span", "said", ended);
  endedText.setAttribute("role", "status");
  const rows = new Map();
  const update = () => {
    const view = model.get("view");
    const wanted = new Set(view.rows.map((row) => row.call));
    for (const [call, parts] of rows) {
      if (!wanted.has(call)) {
        parts.row.remove();
        rows.delete(call);
      }
    }
    for (const row of view.rows) {
      if (!rows.has(row.call)) rows.set(row.call, buildRow(live, model, row.call));
      showRow(rows.get(row.call), row);
    }
    more.textContent = view.more;
    more.hidden = !view.more;
    ended.hidden = !view.ended;
    if (view.ended) {
      setMark(endedMark, view.ended);
      endedText.textContent = view.ended.text;
    }
  };
  model.on("change:view", update);
  update();
  return () => model.off("change:view", update);
}

export default { render };
