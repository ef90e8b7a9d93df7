/** The plugin that shows logs in the main area; in Notebook 7, which has one main widget, below it. */
import {
  ILabShell,
  ILayoutRestorer,
  type JupyterFrontEnd,
  type JupyterFrontEndPlugin
} from '@jupyterlab/application';
import { MainAreaWidget, WidgetTracker } from '@jupyterlab/apputils';
import { ITranslator, nullTranslator } from '@jupyterlab/translation';

import { RowChooser } from '../lab/chooseRow';
import { LOG_ARGS } from '../lab/commandArgs';
import type { IRowArgs } from '../lab/commandIds';
import { logsIcon } from '../lab/icons';
import { Api } from '../model/api';
import type { ILogsQuery } from '../model/schema';
import { IHubModel } from '../model/tokens';
import { LabCommands } from '../panel/commandIds';
import { LogModel } from './logModel';
import { LogView } from './logView';

/** The arguments of the command, with a title for a log whose row is not known after a reload. */
interface ILogArgs extends IRowArgs {
  name?: string;
}

type LogWidget = MainAreaWidget<LogView>;

export const logsPlugin: JupyterFrontEndPlugin<void> = {
  id: 'nbfn:logs',
  description: 'Shows what Functions, calls and workers print.',
  autoStart: true,
  requires: [IHubModel],
  optional: [ILabShell, ILayoutRestorer, ITranslator],
  activate: (
    app: JupyterFrontEnd,
    model: IHubModel,
    labShell: ILabShell | null,
    restorer: ILayoutRestorer | null,
    translator: ITranslator | null
  ) => {
    const trans = (translator ?? nullTranslator).load('nbfn');
    const api = new Api(app.serviceManager.serverSettings);
    const chooser = new RowChooser(model, trans);
    const tracker = new WidgetTracker<LogWidget>({ namespace: 'nbfn-logs' });
    const argsOf = new Map<string, ILogArgs>();

    const create = (args: ILogArgs): LogWidget => {
      const log = new LogModel(api, filterOf(args));
      const widget = new MainAreaWidget({ content: new LogView(log, trans) });
      widget.addClass('jp-nbfn-logWidget');
      widget.id = idOf(args);
      widget.title.label = trans.__('Logs: %1', args.name ?? '');
      widget.title.caption = widget.title.label;
      widget.title.icon = logsIcon;
      widget.title.closable = true;
      argsOf.set(widget.id, args);
      return widget;
    };
    const show = async (args: ILogArgs): Promise<void> => {
      let widget = tracker.find(each => each.id === idOf(args));
      if (!widget) {
        widget = create(args);
        const mode = 'split-bottom';
        app.shell.add(widget, labShell ? 'main' : 'down', { mode });
        await tracker.add(widget);
      }
      if (args.index !== undefined) {
        widget.content.model.index = args.index;
      }
      app.shell.activateById(widget.id);
    };

    app.commands.addCommand(LabCommands.openLogs, {
      describedBy: LOG_ARGS,
      label: trans.__('Show Logs'),
      caption: trans.__('Show what a Function, call or worker prints'),
      icon: logsIcon,
      execute: async args => {
        const complete = await completed(args, model, chooser);
        if (complete) {
          await show(complete);
        }
      }
    });
    if (restorer) {
      void restorer.restore(tracker, {
        command: LabCommands.openLogs,
        args: widget => ({ ...argsOf.get(widget.id) }),
        name: widget => widget.id
      });
    }
  }
};

/** Arguments with an id and a title; null if the user chose none. */
async function completed(
  args: ILogArgs,
  model: IHubModel,
  chooser: RowChooser
): Promise<ILogArgs | null> {
  if (args.name !== undefined) {
    return args;
  }
  if (args.callId !== undefined) {
    const call = model.overview?.calls.find(each => each.id === args.callId);
    const name = call ? `${call.function}.${call.kind}` : args.callId;
    return { ...args, name };
  }
  if (args.workerId !== undefined) {
    return { ...args, name: args.workerId.slice(0, 9) };
  }
  const row = await chooser.function(args.functionId);
  return row && { ...args, functionId: row.id, name: row.name };
}

function filterOf(args: ILogArgs): ILogsQuery {
  return {
    ...(args.functionId !== undefined && { function: args.functionId }),
    ...(args.callId !== undefined && { call: args.callId }),
    ...(args.workerId !== undefined && { worker: args.workerId })
  };
}

function idOf(args: ILogArgs): string {
  const row = args.callId ?? args.workerId ?? args.functionId;
  return `nbfn-logs-${row ?? ''}`;
}
