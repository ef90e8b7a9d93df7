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

/** Whether nbfn's JupyterLab extension is there, which opens timelines. */
function inLab() {
  return document.body.dataset.nbfnLab === "1";
}

/** Asks nbfn's JupyterLab extension for something; returns whether it does that. */
function askLab(node, type, detail) {
  return !node.dispatchEvent(new CustomEvent(`nbfn:${type}`, { bubbles: true, cancelable: true, composed: true, detail }));
}

/** Runs a failed input in the notebook's kernel, or, without the extension, copies the code that does. */
function replayHere(button, call, index) {
  if (!askLab(button, "replay", { call, index })) copy(button, `%fn replay --run ${call}[${index}]`, "Code copied");
}

/** Copies text to the clipboard and shows the result on the button. */
async function copy(button, text, done = "Copied") {
  const label = button.dataset.label ?? button.textContent;
  button.dataset.label = label;
  try {
    await navigator.clipboard.writeText(text);
    button.textContent = done;
  } catch {
    button.textContent = "Copy failed";
  }
  setTimeout(() => { button.textContent = label; }, 1500);
}
