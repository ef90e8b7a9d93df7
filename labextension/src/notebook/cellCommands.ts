/** Commands that change or run the active cell. */
import type { JupyterFrontEnd } from '@jupyterlab/application';
import type { Cell } from '@jupyterlab/cells';
import { NotebookActions, type INotebookTracker } from '@jupyterlab/notebook';
import type { TranslationBundle } from '@jupyterlab/translation';

import { NO_ARGS } from '../lab/commandArgs';
import { CommandIds } from '../lab/commandIds';
import { runRemotelyIcon } from '../lab/icons';
import type { IUserSettings } from '../model/userSettings';
import {
  addMagic,
  hasOtherMagic,
  MAGIC,
  parseRemoteCell,
  toggleMagic
} from './remoteCell';

export function addCellCommands(
  app: JupyterFrontEnd,
  tracker: INotebookTracker,
  settings: IUserSettings,
  trans: TranslationBundle
): void {
  const active = (): Cell | null => {
    const cell = tracker.activeCell;
    return cell?.model.type === 'code' ? cell : null;
  };
  const isEnabled = (): boolean => {
    const cell = active();
    return cell !== null && !hasOtherMagic(sourceOf(cell));
  };
  app.commands.addCommand(CommandIds.toggleRemote, {
    describedBy: NO_ARGS,
    label: trans.__('Toggle %1', MAGIC),
    caption: trans.__(
      'Add %1 to the active cell, or remove it: the cell then runs on a worker, or in the notebook',
      MAGIC
    ),
    isEnabled,
    isToggled: () => {
      const cell = active();
      return cell !== null && parseRemoteCell(sourceOf(cell)) !== null;
    },
    execute: () => {
      const cell = active();
      if (cell) {
        change(cell, toggleMagic(sourceOf(cell), settings.values.defaultApp));
      }
    }
  });
  app.commands.addCommand(CommandIds.runRemotely, {
    describedBy: NO_ARGS,
    label: trans.__('Run Remotely'),
    caption: trans.__(
      'Run the active cell on a worker; %1 is added to it if it is not there',
      MAGIC
    ),
    icon: runRemotelyIcon,
    isEnabled,
    isVisible: () => active() !== null,
    execute: async () => {
      const cell = active();
      const panel = tracker.currentWidget;
      if (!cell || !panel) {
        return;
      }
      if (!parseRemoteCell(sourceOf(cell))) {
        change(cell, addMagic(sourceOf(cell), settings.values.defaultApp));
      }
      await NotebookActions.run(panel.content, panel.sessionContext);
    }
  });
}

function sourceOf(cell: Cell): string {
  return cell.model.sharedModel.getSource();
}

/** Replace the source as one step that can be undone, and keep the cursor at its text. */
function change(cell: Cell, source: string): void {
  const editor = cell.editor;
  const before = sourceOf(cell);
  const cursor = editor?.getOffsetAt(editor.getCursorPosition()) ?? 0;
  cell.model.sharedModel.setSource(source);
  const moved = Math.max(0, cursor + source.length - before.length);
  const position = editor?.getPositionAt(Math.min(moved, source.length));
  if (editor && position) {
    editor.setCursorPosition(position);
  }
}
