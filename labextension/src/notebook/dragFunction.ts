/** Drags the row of a Function into a notebook, which inserts a cell with an example call. */
import { Drag } from '@lumino/dragdrop';
import { MimeData } from '@lumino/coreutils';
import { DisposableDelegate, type IDisposable } from '@lumino/disposable';

/** The type of cells that notebooks of JupyterLab accept. */
const CELLS = 'application/vnd.jupyter.cells';

/** Pixels that the pointer moves before a drag begins. */
const THRESHOLD = 5;

/** The elements of rows, and the attribute with the id of the Function. */
const ROW = '[data-function]';

/** Elements in a row that react to the pointer themselves. */
const CONTROLS =
  'button, input, select, textarea, a, jp-button, jp-number-field';

/**
 * Start a drag when a row inside of `root` is dragged.
 *
 * @param codeOf - Returns the code of the cell. It is called when the pointer is pressed, since a drag begins with its data.
 */
export function enableDrag(
  root: HTMLElement,
  codeOf: (functionId: string) => Promise<string>
): IDisposable {
  const onPress = (event: PointerEvent): void => {
    const row = rowAt(event);
    if (row) {
      new Press(event, row, codeOf(row.dataset.function ?? ''));
    }
  };
  root.addEventListener('pointerdown', onPress, true);
  return new DisposableDelegate(() =>
    root.removeEventListener('pointerdown', onPress, true)
  );
}

function rowAt(event: PointerEvent): HTMLElement | null {
  const target = event.target instanceof Element ? event.target : null;
  if (event.button !== 0 || !target || target.closest(CONTROLS)) {
    return null;
  }
  return target.closest<HTMLElement>(ROW);
}

/** From the press of the pointer until it is released, or until the drag begins. */
class Press {
  constructor(
    private readonly _from: PointerEvent,
    private readonly _row: HTMLElement,
    code: Promise<string>
  ) {
    code.then(
      value => {
        this._code = value;
      },
      () => this._end()
    );
    document.addEventListener('pointermove', this._move, true);
    document.addEventListener('pointerup', this._end, true);
    document.addEventListener('pointercancel', this._end, true);
  }

  private readonly _move = (event: PointerEvent): void => {
    const distance = Math.hypot(
      event.clientX - this._from.clientX,
      event.clientY - this._from.clientY
    );
    if (this._code !== null && distance >= THRESHOLD) {
      this._end();
      startDrag(this._row, this._code, event);
    }
  };

  private readonly _end = (): void => {
    document.removeEventListener('pointermove', this._move, true);
    document.removeEventListener('pointerup', this._end, true);
    document.removeEventListener('pointercancel', this._end, true);
  };

  private _code: string | null = null;
}

function startDrag(row: HTMLElement, code: string, event: PointerEvent): void {
  const mimeData = new MimeData();
  mimeData.setData(CELLS, [
    { cell_type: 'code', source: code, metadata: {}, outputs: [] }
  ]);
  mimeData.setData('text/plain', code);
  const drag = new Drag({
    mimeData,
    dragImage: imageOf(row),
    proposedAction: 'copy',
    supportedActions: 'copy-move',
    source: row
  });
  void drag.start(event.clientX, event.clientY).then(() => drag.dispose());
}

function imageOf(row: HTMLElement): HTMLElement {
  const image = document.createElement('div');
  image.className = 'jp-nbfn-dragImage';
  image.textContent = row.dataset.name ?? row.getAttribute('aria-label') ?? '';
  return image;
}
