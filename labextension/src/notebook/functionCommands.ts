/** Commands that write code about a Function or a call into the current notebook, or show its cell. */
import type { JupyterFrontEnd } from '@jupyterlab/application';
import { Notification } from '@jupyterlab/apputils';
import {
  NotebookActions,
  type INotebookTracker,
  type NotebookPanel
} from '@jupyterlab/notebook';
import type { TranslationBundle } from '@jupyterlab/translation';

import { CALL_ARGS, FUNCTION_ARGS, NO_ARGS } from '../lab/commandArgs';
import type { IRowArgs } from '../lab/commandIds';
import type { RowChooser } from '../lab/chooseRow';
import type { Api } from '../model/api';
import type { IFunctionRow } from '../model/schema';
import type { IUserSettings } from '../model/userSettings';
import { LabCommands } from '../panel/commandIds';
import { goToCell } from './goToCell';
import {
  cellCode,
  importCode,
  toCallable,
  type ICallable
} from './exampleCall';
import { insertBelow, writableNotebook } from './insertCell';
import type { OpenNotebooks } from './openNotebooks';
import { addMagic, MAGIC } from './remoteCell';

export interface IFunctionCommandOptions {
  tracker: INotebookTracker;
  notebooks: OpenNotebooks;
  api: Pick<Api, 'functionDetails'>;
  chooser: RowChooser;
  settings: IUserSettings;
  trans: TranslationBundle;
}

const EXAMPLE = `def square(x: int) -> int:
    return x * x


%local
square.remote(12)`;

export function addFunctionCommands(
  app: JupyterFrontEnd,
  options: IFunctionCommandOptions
): void {
  const { tracker, notebooks, chooser, settings, trans } = options;
  const hasNotebook = (): boolean => writableNotebook(tracker) !== null;
  const write = async (
    args: IRowArgs,
    code: (target: ICallable) => string
  ): Promise<void> => {
    const row = await chooser.function(args.functionId);
    const panel = writableNotebook(tracker);
    if (row && panel) {
      insertBelow(panel, await codeOf(options, row, code));
    }
  };
  app.commands.addCommand(LabCommands.insertCall, {
    describedBy: FUNCTION_ARGS,
    label: trans.__('Insert Call'),
    caption: trans.__(
      'Insert a cell that looks the Function up and calls it, into the current notebook'
    ),
    isEnabled: hasNotebook,
    execute: args => write(args, cellCode)
  });
  app.commands.addCommand(LabCommands.insertImport, {
    describedBy: FUNCTION_ARGS,
    label: trans.__('Insert Import'),
    caption: trans.__(
      'Insert a cell that looks the Function up, into the current notebook'
    ),
    isEnabled: hasNotebook,
    execute: args => write(args, importCode)
  });
  app.commands.addCommand(LabCommands.insertExample, {
    describedBy: NO_ARGS,
    label: trans.__('Insert Example of %1', MAGIC),
    caption: trans.__('Insert a cell with a Function and a call of it'),
    isEnabled: hasNotebook,
    execute: () => {
      const panel = writableNotebook(tracker);
      if (panel) {
        const code = addMagic(EXAMPLE, settings.values.defaultApp);
        insertBelow(panel, code);
      }
    }
  });
  app.commands.addCommand(LabCommands.goToCell, {
    describedBy: FUNCTION_ARGS,
    label: trans.__('Go to Cell'),
    caption: trans.__('Show the cell that defines the Function'),
    execute: async args => {
      const row = await chooser.function((args as IRowArgs).functionId);
      if (row && !(await goToCell(app, tracker, notebooks, row))) {
        Notification.warning(noCell(row, trans), { autoClose: 8000 });
      }
    }
  });
  app.commands.addCommand(LabCommands.attachCall, {
    describedBy: CALL_ARGS,
    label: trans.__('Attach Here'),
    caption: trans.__(
      'Insert a cell that shows the call, into the current notebook, and run it'
    ),
    isEnabled: hasNotebook,
    execute: async args => {
      const call = await chooser.call((args as IRowArgs).callId);
      const panel = writableNotebook(tracker);
      if (call && panel) {
        const load = needsLoading(panel) ? '%load_ext nbfn\n' : '';
        insertBelow(panel, `${load}%fn attach ${call.id}`);
        await NotebookActions.run(panel.content, panel.sessionContext);
      }
    }
  });
}

async function codeOf(
  { notebooks, api }: IFunctionCommandOptions,
  row: IFunctionRow,
  code: (target: ICallable) => string
): Promise<string> {
  const target = toCallable(row, await api.functionDetails(row.id));
  return code({ ...target, variable: notebooks.unusedName(target.variable) });
}

/** Whether the magics are not known to the kernel: it is not one of nbfn's, and no cell loads them. */
export function needsLoading(panel: NotebookPanel): boolean {
  const kernel = panel.sessionContext.session?.kernel?.name ?? '';
  return (
    !/^nbfn(?:-remote)?$/.test(kernel) &&
    !panel.content.widgets.some(cell =>
      /^\s*%(?:load_ext|reload_ext)\s+nbfn\b/m.test(
        cell.model.sharedModel.getSource()
      )
    )
  );
}

function noCell(row: IFunctionRow, trans: TranslationBundle): string {
  return row.owner
    ? trans.__('%1 has no cell that defines %2 now.', row.owner, row.name)
    : trans.__('%1 was not registered by a notebook.', row.name);
}
