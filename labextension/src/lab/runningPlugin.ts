/** The plugin that adds calls and workers to the panel of running sessions. */
import type {
  JupyterFrontEnd,
  JupyterFrontEndPlugin
} from '@jupyterlab/application';
import { Notification } from '@jupyterlab/apputils';
import {
  IRunningSessionManagers,
  type IRunningSessions
} from '@jupyterlab/running';
import {
  ITranslator,
  nullTranslator,
  type TranslationBundle
} from '@jupyterlab/translation';

import { Api } from '../model/api';
import type { ICallRow, IWorkerRow } from '../model/schema';
import { IHubModel } from '../model/tokens';
import { LabCommands, PanelCommands } from '../panel/commandIds';
import { isUnfinished } from './chooseRow';
import { CommandIds } from './commandIds';
import { nbfnIcon, workerConsoleIcon } from './icons';

export const runningPlugin: JupyterFrontEndPlugin<void> = {
  id: 'nbfn:running',
  description: 'Lists calls and workers in the panel of running sessions.',
  autoStart: true,
  requires: [IHubModel],
  // The notebook page of Notebook 7 has no panel of running sessions.
  optional: [IRunningSessionManagers, ITranslator],
  activate: (
    app: JupyterFrontEnd,
    model: IHubModel,
    managers: IRunningSessionManagers | null,
    translator: ITranslator | null
  ) => {
    if (!managers) {
      return;
    }
    const trans = (translator ?? nullTranslator).load('nbfn');
    managers.add(callManager(app, model, trans));
    managers.add(workerManager(app, model, trans));
  }
};

function callManager(
  app: JupyterFrontEnd,
  model: IHubModel,
  trans: TranslationBundle
): IRunningSessions.IManager {
  const calls = (): ICallRow[] =>
    (model.overview?.calls ?? []).filter(
      call => isUnfinished(call) && call.purpose !== 'session'
    );
  return {
    name: trans.__('Calls of nbfn'),
    running: () =>
      calls().map(call => ({
        icon: () => nbfnIcon,
        label: () => `${call.function}.${call.kind}`,
        labelTitle: () => `${call.app} · ${call.id}`,
        detail: () =>
          `${call.state} · ${call.succeeded + call.failed + call.cancelled} / ${call.total}`,
        open: () =>
          void app.commands.execute(
            app.commands.hasCommand(PanelCommands.showCall)
              ? PanelCommands.showCall
              : CommandIds.openSidebar,
            { callId: call.id }
          ),
        shutdown: () => void model.cancel(call.id)
      })),
    shutdownAll: () => calls().forEach(call => void model.cancel(call.id)),
    refreshRunning: () => void model.refresh(),
    runningChanged: model.stateChanged,
    shutdownLabel: trans.__('Cancel'),
    shutdownAllLabel: trans.__('Cancel All'),
    shutdownAllConfirmationText: trans.__(
      'Cancel all calls of nbfn? Their waiting and running inputs end.'
    )
  };
}

function workerManager(
  app: JupyterFrontEnd,
  model: IHubModel,
  trans: TranslationBundle
): IRunningSessions.IManager {
  const workers = (): IWorkerRow[] => [...(model.overview?.workers ?? [])];
  const api = new Api(app.serviceManager.serverSettings);
  const stop = (worker: IWorkerRow): void => {
    api.stopWorker(worker.id).catch((reason: unknown) => {
      Notification.error(String(reason), { autoClose: 8000 });
    });
  };
  return {
    name: trans.__('Workers of nbfn'),
    running: () =>
      workers().map(worker => ({
        icon: () => workerConsoleIcon,
        label: () => worker.function ?? trans.__('ready for any Function'),
        labelTitle: () => `${worker.id} · pid ${worker.pid}`,
        detail: () => worker.state,
        open: () =>
          void app.commands.execute(LabCommands.openLogs, {
            workerId: worker.id
          }),
        shutdown: () => stop(worker)
      })),
    shutdownAll: () => workers().forEach(stop),
    refreshRunning: () => void model.refresh(),
    runningChanged: model.stateChanged,
    shutdownLabel: trans.__('Stop'),
    shutdownAllLabel: trans.__('Stop All'),
    shutdownAllConfirmationText: trans.__(
      'Stop all workers of nbfn? The inputs that they run start again on new ones.'
    )
  };
}
