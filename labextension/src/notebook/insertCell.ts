/** Inserts code cells into the current notebook. */
import type { Cell } from '@jupyterlab/cells';
import {
  NotebookActions,
  type INotebookTracker,
  type NotebookPanel
} from '@jupyterlab/notebook';

/** Insert a code cell below the active cell and make it the active one. */
export function insertBelow(panel: NotebookPanel, source: string): Cell | null {
  const notebook = panel.content;
  const active = notebook.activeCell;
  // An empty cell is used instead of a new one.
  const isEmpty =
    active?.model.type === 'code' &&
    active.model.sharedModel.getSource().trim() === '';
  if (!isEmpty) {
    NotebookActions.insertBelow(notebook);
    NotebookActions.changeCellType(notebook, 'code');
  }
  const cell = notebook.activeCell;
  cell?.model.sharedModel.setSource(source);
  void NotebookActions.focusActiveCell(notebook);
  return cell;
}

/** The notebook that commands insert into: the current one, if it can be changed. */
export function writableNotebook(
  tracker: INotebookTracker
): NotebookPanel | null {
  const panel = tracker.currentWidget;
  return panel?.context.model.readOnly === false ? panel : null;
}
