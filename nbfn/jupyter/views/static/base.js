// What nbfn's widgets have in common; `page.py` puts it before the script of each.
// Text from users goes through textContent only.

const COMMON = new Set(["head", "mark", "muted", "button", "buttons", "input", "code"]);

/** Makes the elements of one kind of widget; the look of the common ones is that of all. */
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

/** Shows a state by the mark that Python gave it. */
function setMark(node, view) {
  node.textContent = view.mark;
  node.dataset.state = view.state;
}

/** Puts a text into the clipboard and says on the button that it did. */
async function copy(button, text) {
  const label = button.dataset.label ?? button.textContent;
  button.dataset.label = label;
  try {
    await navigator.clipboard.writeText(text);
    button.textContent = "Copied";
  } catch {
    button.textContent = "Not allowed here";
  }
  setTimeout(() => { button.textContent = label; }, 1500);
}
