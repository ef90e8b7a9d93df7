/** Shows the cell that defines a Function, and opens its notebook if that is not open. */
import type { JupyterFrontEnd } from '@jupyterlab/application';
import { PageConfig } from '@jupyterlab/coreutils';
import { NotebookActions, type INotebookTracker } from '@jupyterlab/notebook';

import type { IFunctionRow } from '../model/schema';
import {
  ROOT_OPTION,
  type IOpenCell,
  type OpenNotebooks
} from './openNotebooks';

/** Return whether there is such a cell. */
export async function goToCell(
  app: JupyterFrontEnd,
  tracker: INotebookTracker,
  notebooks: OpenNotebooks,
  row: IFunctionRow
): Promise<boolean> {
  const open = notebooks.find(row);
  if (open) {
    await show(app, open);
    return true;
  }
  const path = pathOf(row.owner);
  if (path === null || !(await exists(app, path))) {
    return false;
  }
  await app.commands.execute('docmanager:open', { path });
  const panel = tracker.find(each => each.context.path === path);
  if (!panel) {
    return true; // Notebook 7 has opened another tab
  }
  await panel.revealed;
  const found = notebooks.find(row);
  if (found) {
    await show(app, found);
  }
  return found !== null;
}

async function show(app: JupyterFrontEnd, open: IOpenCell): Promise<void> {
  const notebook = open.panel.content;
  app.shell.activateById(open.panel.id);
  notebook.deselectAll();
  notebook.activeCellIndex = open.index;
  await notebook.scrollToItem(open.index, 'smart');
  await NotebookActions.focusActiveCell(notebook);
}

/** The path of a notebook's file relative to the root of the server; null if it is not below it. */
export function pathOf(file: string): string | null {
  const root = PageConfig.getOption(ROOT_OPTION).replace(/\/$/, '');
  return root && file.startsWith(`${root}/`)
    ? file.slice(root.length + 1)
    : null;
}

async function exists(app: JupyterFrontEnd, path: string): Promise<boolean> {
  try {
    await app.serviceManager.contents.get(path, { content: false });
    return true;
  } catch {
    return false;
  }
}
