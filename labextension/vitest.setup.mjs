// What JupyterLab's packages touch on import and jsdom does not have.
globalThis.DragEvent ??= class DragEvent extends MouseEvent {};
globalThis.ResizeObserver ??= class {
  observe() {}
  unobserve() {}
  disconnect() {}
};
window.matchMedia ??= () => ({
  matches: false,
  addEventListener() {},
  removeEventListener() {}
});
globalThis.requestIdleCallback ??= callback => setTimeout(callback, 0);
globalThis.cancelIdleCallback ??= id => clearTimeout(id);
document.queryCommandSupported ??= () => false;
// React's act() warnings are wanted: they say that a test did not wait.
globalThis.IS_REACT_ACT_ENVIRONMENT = true;
