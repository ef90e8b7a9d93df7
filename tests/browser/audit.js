// What is wrong with the look of an element and all that is in it: text that is cut or hard to read,
// what sticks out of its column, buttons and fields without a name. A list of sentences.
root => {
  const found = [];
  const say = (node, what) => {
    const text = (node.textContent || node.outerHTML).trim().slice(0, 40);
    found.push(`${what}: ${node.tagName.toLowerCase()}.${node.className} "${text}"`);
  };

  const colours = new Map();
  const pen = document.createElement('canvas').getContext('2d', { willReadFrequently: true });
  const rgba = text => {
    if (!colours.has(text)) {
      pen.clearRect(0, 0, 1, 1);
      pen.fillStyle = text;
      pen.fillRect(0, 0, 1, 1);
      const [r, g, b, a] = pen.getImageData(0, 0, 1, 1).data;
      colours.set(text, [r, g, b, a / 255]);
    }
    return colours.get(text);
  };
  const over = (top, below) => [
    ...[0, 1, 2].map(i => top[i] * top[3] + below[i] * (1 - top[3])),
    1
  ];
  const behind = node => {
    const layers = [];
    for (let at = node; at; at = at.parentElement) {
      layers.push(rgba(getComputedStyle(at).backgroundColor));
    }
    return layers.reduceRight((below, top) => over(top, below), [255, 255, 255, 1]);
  };
  const light = colour => {
    const [r, g, b] = colour.slice(0, 3).map(value => {
      const share = value / 255;
      return share <= 0.03928 ? share / 12.92 : ((share + 0.055) / 1.055) ** 2.4;
    });
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const contrast = node => {
    const below = behind(node);
    const [one, other] = [over(rgba(getComputedStyle(node).color), below), below].map(light);
    return (Math.max(one, other) + 0.05) / (Math.min(one, other) + 0.05);
  };
  const scrolls = node => {
    for (let at = node.parentElement; at && at !== root.parentElement; at = at.parentElement) {
      if (['auto', 'scroll', 'hidden'].includes(getComputedStyle(at).overflowX)) return true;
    }
    return false;
  };
  const named = node =>
    (node.getAttribute('aria-label') || node.labels?.[0]?.textContent || node.textContent).trim();

  const edge = root.getBoundingClientRect().right + 1;
  for (const node of root.querySelectorAll('*')) {
    if (!node.checkVisibility()) continue;
    const box = node.getBoundingClientRect();
    if (box.width && box.right > edge && !scrolls(node)) {
      say(node, `sticks out by ${Math.round(box.right - edge)} px`);
    }
    if (node.matches('button, input, select, [role=progressbar], [role=img]') && !named(node)) {
      say(node, 'has no name');
    }
    const speaks = [...node.childNodes].some(at => at.nodeType === 3 && at.data.trim());
    // WCAG leaves out what is disabled, and asks less of marks that stand beside a word.
    const enough = node.closest('[aria-hidden=true]') ? 3 : 4.5;
    if (speaks && !node.closest(':disabled') && contrast(node) < enough) {
      say(node, `contrast is ${contrast(node).toFixed(1)}`);
    }
  }
  return found;
};
