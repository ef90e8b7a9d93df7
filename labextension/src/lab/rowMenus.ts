/** The context menus of the rows of the panel. */
import type { JupyterFrontEnd } from '@jupyterlab/application';
import type { TranslationBundle } from '@jupyterlab/translation';
import type { CommandRegistry } from '@lumino/commands';
import type { ReadonlyPartialJSONObject } from '@lumino/coreutils';

import { LabCommands, PanelCommands } from '../panel/commandIds';
import { CommandIds } from './commandIds';

/** Rows by their attribute with the id, which becomes the argument of the commands. */
interface IRowKind {
  attribute: string;
  argument: string;
  commands: readonly string[];
}

const SEPARATOR = '';

const KINDS: readonly IRowKind[] = [
  {
    attribute: 'data-function',
    argument: 'functionId',
    commands: [
      PanelCommands.callFunction,
      LabCommands.goToCell,
      LabCommands.insertCall,
      LabCommands.insertImport,
      SEPARATOR,
      LabCommands.openLogs,
      CommandIds.setWarm,
      PanelCommands.showAutoscaler,
      PanelCommands.showVersions,
      SEPARATOR,
      PanelCommands.stopFunction,
      PanelCommands.deleteFunction
    ]
  },
  {
    attribute: 'data-call',
    argument: 'callId',
    commands: [
      LabCommands.attachCall,
      LabCommands.openLogs,
      LabCommands.openTimeline,
      PanelCommands.copyId,
      SEPARATOR,
      PanelCommands.retryCall,
      PanelCommands.cancelCall
    ]
  },
  {
    attribute: 'data-worker',
    argument: 'workerId',
    commands: [
      LabCommands.openConsole,
      LabCommands.openLogs,
      PanelCommands.copyId,
      SEPARATOR,
      PanelCommands.drainWorker,
      PanelCommands.stopWorker
    ]
  }
];

/** Prefix of the commands that the menus have in place of others, for which they read the id of the row. */
const PREFIX = 'nbfn:row-menu-';

export function addRowMenus(
  app: JupyterFrontEnd,
  trans: TranslationBundle
): void {
  KINDS.forEach((kind, number) => {
    const selector = `.jp-nbfn-sidebar [${kind.attribute}]`;
    kind.commands.forEach((command, rank) => {
      if (command === SEPARATOR) {
        app.contextMenu.addItem({ type: 'separator', selector, rank });
        return;
      }
      const own = `${PREFIX}${number}-${command.replace(/^nbfn:/, '')}`;
      app.commands.addCommand(own, forRow(app, command, kind, trans));
      app.contextMenu.addItem({ command: own, selector, rank });
    });
  });
}

/** A command that executes another one with the id of the row below the pointer. */
function forRow(
  app: JupyterFrontEnd,
  command: string,
  { attribute, argument }: IRowKind,
  trans: TranslationBundle
): CommandRegistry.ICommandOptions {
  const { commands } = app;
  const args = (): ReadonlyPartialJSONObject => {
    const node = app.contextMenuHitTest(each => each.hasAttribute(attribute));
    const id = node?.getAttribute(attribute) ?? '';
    return command === PanelCommands.copyId ? { id } : { [argument]: id };
  };
  const has = (): boolean => commands.hasCommand(command);
  return {
    label: () => (has() ? commands.label(command, args()) : trans.__('…')),
    caption: () => (has() ? commands.caption(command, args()) : ''),
    icon: () => (has() ? commands.icon(command, args()) : undefined),
    isVisible: () => has() && commands.isVisible(command, args()),
    isEnabled: () => has() && commands.isEnabled(command, args()),
    execute: () => commands.execute(command, args())
  };
}
