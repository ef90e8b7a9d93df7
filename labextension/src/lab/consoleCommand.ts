/** The command that opens a console on a worker. */
import type { JupyterFrontEnd } from '@jupyterlab/application';
import { Notification } from '@jupyterlab/apputils';
import type { TranslationBundle } from '@jupyterlab/translation';

import { Api } from '../model/api';
import { LabCommands } from '../panel/commandIds';
import type { RowChooser } from './chooseRow';
import { WORKER_ARGS } from './commandArgs';
import type { IRowArgs } from './commandIds';
import { workerConsoleIcon } from './icons';

const CREATE = 'console:create';

export function addConsoleCommand(
  app: JupyterFrontEnd,
  chooser: RowChooser,
  trans: TranslationBundle
): void {
  const api = new Api(app.serviceManager.serverSettings);
  app.commands.addCommand(LabCommands.openConsole, {
    describedBy: WORKER_ARGS,
    label: trans.__('Open Console'),
    caption: trans.__(
      'Open a Jupyter console on a worker, also while it runs an input'
    ),
    icon: workerConsoleIcon,
    isVisible: () => app.commands.hasCommand(CREATE),
    execute: async args => {
      const worker = await chooser.worker((args as IRowArgs).workerId);
      if (!worker) {
        return;
      }
      try {
        const { kernel_id } = await api.console(worker.id);
        await app.commands.execute(CREATE, {
          name: trans.__('Worker %1', worker.id.slice(0, 9)),
          path: `nbfn/${worker.id}-${Date.now().toString(36)}`,
          kernelPreference: { id: kernel_id, autoStartDefault: false }
        });
      } catch (reason) {
        const message =
          reason instanceof Error ? reason.message : String(reason);
        Notification.error(message, { autoClose: false });
      }
    }
  });
}
