/** Runs a failed input in the kernel of a notebook: in a new cell, below the cell that shows the failure. */
import {
  NotebookActions,
  type INotebookTracker,
  type NotebookPanel
} from '@jupyterlab/notebook';

/** The notebook with this path if it is open, or else the current one. */
export function notebookOf(
  tracker: INotebookTracker,
  path: string
): NotebookPanel | null {
  return (
    (path && tracker.find(panel => panel.context.path === path)) ||
    tracker.currentWidget
  );
}

/** The notebook and the number of the cell that contain an element; null outside of notebooks. */
export function cellOf(
  tracker: INotebookTracker,
  element: Node
): { panel: NotebookPanel; index: number } | null {
  const panel = tracker.find(each => each.node.contains(element));
  if (!panel) {
    return null;
  }
  const index = panel.content.widgets.findIndex(cell =>
    cell.node.contains(element)
  );
  return index < 0 ? null : { panel, index };
}

/**
 * Insert a cell that runs an input again, and run it.
 *
 * @returns Whether the cell ran; false if the code of the input failed again, too.
 */
export async function replay(
  panel: NotebookPanel,
  cell: number | null,
  code: string
): Promise<boolean> {
  const { content: notebook, sessionContext } = panel;
  if (cell !== null) {
    notebook.activeCellIndex = cell;
  } else if (notebook.widgets.length > 0) {
    notebook.activeCellIndex = notebook.widgets.length - 1;
  }
  NotebookActions.insertBelow(notebook);
  notebook.activeCell?.model.sharedModel.setSource(code);
  notebook.mode = 'command';
  await notebook.scrollToItem(notebook.activeCellIndex, 'smart');
  return NotebookActions.run(notebook, sessionContext);
}
