/** The commands about rows of the panel. */
import { Clipboard, Dialog, showDialog } from '@jupyterlab/apputils';
import type { TranslationBundle } from '@jupyterlab/translation';
import type { CommandRegistry } from '@lumino/commands';
import type { ReadonlyPartialJSONObject } from '@lumino/coreutils';
import { DisposableSet, type IDisposable } from '@lumino/disposable';

import { baseName } from '../model/format';
import type { ICallRow, IFunctionRow, IWorkerRow } from '../model/schema';
import { AutoscalerDialog } from './autoscalerDialog';
import { appKey } from './functionRows';
import { groupKey, groupOf } from './callRows';
import { PanelCommands } from './commandIds';
import { retriableInputs } from './counts';
import type { PanelModel } from './panelModel';
import { isOver } from './states';

export interface ICommandContext {
  commands: CommandRegistry;
  model: PanelModel;
  trans: TranslationBundle;
  /** Show the panel, and in it the row of an id. */
  reveal: (id: string) => void;
}

/** What a command about one kind of row does. */
interface IRowCommand<Row> {
  label: string;
  isEnabled?: (row: Row) => boolean;
  isVisible?: (row: Row) => boolean;
  execute: (row: Row) => unknown;
}

type Args = ReadonlyPartialJSONObject;
/** The row that the arguments of a command name; null if it is not shown. */
type FindRow<Row> = (args: Args) => Row | null;

export function addPanelCommands(context: ICommandContext): IDisposable {
  const { model } = context;
  const added = new DisposableSet();
  const functionOf: FindRow<IFunctionRow> = args =>
    model.function(text(args.functionId));
  const callOf: FindRow<ICallRow> = args => model.call(text(args.callId));
  const workerOf: FindRow<IWorkerRow> = args =>
    model.workers.find(row => row.id === args.workerId) ?? null;
  const add = <Row>(
    find: FindRow<Row>,
    commands: Record<string, IRowCommand<Row>>
  ): void => {
    for (const [id, command] of Object.entries(commands)) {
      added.add(addRowCommand(context, id, find, command));
    }
  };
  add(functionOf, functionCommands(context));
  add(callOf, callCommands(context));
  add(workerOf, workerCommands(context));
  added.add(
    context.commands.addCommand(PanelCommands.copyId, {
      label: context.trans.__('Copy id'),
      describedBy: { args: null },
      execute: args => Clipboard.copyToSystem(text(args.id))
    })
  );
  added.add(
    context.commands.addCommand(PanelCommands.refresh, {
      label: context.trans.__('Refresh the nbfn panel'),
      describedBy: { args: null },
      execute: () => model.hub.refresh()
    })
  );
  return added;
}

function addRowCommand<Row>(
  { commands, model, trans }: ICommandContext,
  id: string,
  find: FindRow<Row>,
  command: IRowCommand<Row>
): IDisposable {
  const test =
    (holds: ((row: Row) => boolean) | undefined) =>
    (args: Args): boolean => {
      const row = find(args);
      return row !== null && (holds === undefined || holds(row));
    };
  return commands.addCommand(id, {
    label: command.label,
    describedBy: { args: null },
    isVisible: test(command.isVisible),
    isEnabled: args => !model.hub.isStale && test(command.isEnabled)(args),
    execute: args => {
      const row = find(args);
      if (row === null) {
        throw new Error(trans.__('This is no longer shown in the panel.'));
      }
      return command.execute(row);
    }
  });
}

function functionCommands({
  model,
  trans,
  reveal
}: ICommandContext): Record<string, IRowCommand<IFunctionRow>> {
  const show = (row: IFunctionRow): void => {
    const key = appKey(row.app);
    if (model.isToggled(key)) {
      model.toggle(key); // the App is closed
    }
    reveal(row.id);
  };
  return {
    [PanelCommands.callFunction]: {
      label: trans.__('Call…'),
      execute: row => {
        model.openForm(row.id);
        show(row);
      }
    },
    [PanelCommands.showAutoscaler]: {
      label: trans.__('Autoscaler…'),
      isEnabled: row => row.has_workers,
      execute: row => editAutoscaler(row, model, trans)
    },
    [PanelCommands.showVersions]: {
      label: trans.__('Versions'),
      execute: row => {
        if (!model.showsVersions(row.id)) {
          model.toggleVersions(row.id);
        }
        show(row);
      }
    },
    [PanelCommands.stopFunction]: {
      label: trans.__('Stop…'),
      execute: row =>
        confirmed(
          trans.__('Stop %1?', row.name),
          trans.__(
            'Its calls are cancelled and its workers end. The next call starts new ones.'
          ),
          trans.__('Stop'),
          trans,
          () => model.act(row.id, 'stop', () => model.api.stopFunction(row.id))
        )
    },
    [PanelCommands.deleteFunction]: {
      label: trans.__('Delete…'),
      execute: row =>
        confirmed(
          trans.__('Delete %1?', `${row.app}/${row.name}`),
          trans.__(
            'Its calls are cancelled, its workers end, and nobody can call it any more.'
          ),
          trans.__('Delete'),
          trans,
          () =>
            model.act(row.id, 'delete', () => model.api.deleteFunction(row.id))
        )
    }
  };
}

function callCommands({
  model,
  trans,
  reveal
}: ICommandContext): Record<string, IRowCommand<ICallRow>> {
  return {
    [PanelCommands.showCall]: {
      label: trans.__('Show in the panel'),
      execute: row => {
        const key = groupKey(groupOf(row));
        if (model.isToggled(key)) {
          model.toggle(key); // the group is closed
        }
        model.openCall(row.id);
        reveal(row.id);
      }
    },
    [PanelCommands.cancelCall]: {
      label: trans.__('Cancel'),
      isVisible: row => row.purpose !== 'session',
      isEnabled: row => !isOver(row.state) && row.purpose !== 'session',
      execute: row =>
        model.act(row.id, 'cancel', () => model.api.cancelCall(row.id))
    },
    [PanelCommands.endSession]: {
      label: trans.__('End session…'),
      isVisible: row => row.purpose === 'session',
      isEnabled: row => row.purpose === 'session' && !isOver(row.state),
      execute: row => endSession(row, model, trans)
    },
    [PanelCommands.retryCall]: {
      label: trans.__('Retry failed and not run'),
      isEnabled: row =>
        isOver(row.state) && row.durable && retriableInputs(row) > 0,
      execute: row =>
        model.act(row.id, 'retry', () => model.api.retryCall(row.id))
    }
  };
}

function workerCommands({
  model,
  trans
}: ICommandContext): Record<string, IRowCommand<IWorkerRow>> {
  return {
    [PanelCommands.drainWorker]: {
      label: trans.__('Drain'),
      isEnabled: row => row.state !== 'draining' && !runsSession(row),
      execute: row =>
        model.act(row.id, 'drain', () => model.api.drainWorker(row.id))
    },
    [PanelCommands.stopWorker]: {
      label: trans.__('Stop…'),
      execute: row =>
        confirmed(
          trans.__('Stop worker %1?', row.id.slice(0, 9)),
          runsSession(row)
            ? trans.__(
                'It runs the session of a notebook, whose variables are lost.'
              )
            : trans.__(
                'The process ends at once. Its inputs run again on another worker.'
              ),
          trans.__('Stop'),
          trans,
          () => model.act(row.id, 'stop', () => model.api.stopWorker(row.id))
        )
    }
  };
}

function runsSession(worker: IWorkerRow): boolean {
  return worker.session !== '';
}

async function editAutoscaler(
  row: IFunctionRow,
  model: PanelModel,
  trans: TranslationBundle
): Promise<void> {
  const dialog = new AutoscalerDialog(
    row,
    async change => {
      const settings = await model.api.setAutoscaler(row.id, change);
      model.hub.applyAutoscaler(row.id, settings);
    },
    trans
  );
  await dialog.launch();
}

async function endSession(
  call: ICallRow,
  model: PanelModel,
  trans: TranslationBundle
): Promise<void> {
  const name = call.origin ? baseName(call.origin) : call.app;
  await confirmed(
    trans.__('End the session of %1?', name),
    trans.__('All variables of the notebook in that session are lost.'),
    trans.__('End session'),
    trans,
    () => model.act(call.id, 'end', () => model.api.endSession(call.id))
  );
}

/** Ask, and carry out an action that cannot be undone. */
async function confirmed(
  title: string,
  body: string,
  label: string,
  trans: TranslationBundle,
  action: () => Promise<unknown>
): Promise<void> {
  const { button } = await showDialog({
    title,
    body,
    buttons: [
      Dialog.cancelButton({ label: trans.__('Cancel') }),
      Dialog.warnButton({ label })
    ],
    defaultButton: 0
  });
  if (button.accept) {
    await action();
  }
}

function text(value: unknown): string {
  return typeof value === 'string' ? value : '';
}
