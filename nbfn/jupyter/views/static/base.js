// Functions that nbfn's widgets share; `widget_base.py` puts them before the script of each.
// Text from users is only set as textContent.

const COMMON = new Set(["head", "mark", "muted", "button", "buttons", "input", "code"]);

/** Returns functions that create the elements of one kind of widget; classes of COMMON are shared. */
function maker(widget) {
  const element = (tag, name, parent, text) => {
    const node = document.createElement(tag);
    if (name) node.className = `jp-nbfn-${COMMON.has(name) ? "ui" : widget}-${name}`;
    if (name === "root") node.classList.add("jp-nbfn-ui-root");
    if (text !== undefined) node.textContent = text;
    if (parent) parent.appendChild(node);
    return node;
  };
  const pressable = (parent, label, act) => {
    const button = element("button", "button", parent, label);
    button.type = "button";
    button.addEventListener("click", () => act(button));
    return button;
  };
  const mark = (parent) => {
    const node = element("span", "mark", parent);
    node.setAttribute("aria-hidden", "true");
    return node;
  };
  return { element, pressable, mark };
}

/** Shows the mark and the colour of a state. */
function setMark(node, view) {
  node.textContent = view.mark;
  node.dataset.state = view.state;
}

/** Copies text to the clipboard and shows the result on the button. */
async function copy(button, text) {
  const label = button.dataset.label ?? button.textContent;
  button.dataset.label = label;
  try {
    await navigator.clipboard.writeText(text);
    button.textContent = "Copied";
  } catch {
    button.textContent = "Copy failed";
  }
  setTimeout(() => { button.textContent = label; }, 1500);
}
