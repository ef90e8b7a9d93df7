/** The plugin that adds cards to the launcher: notebooks with the kernels of nbfn, and the panel. */
import type {
  JupyterFrontEnd,
  JupyterFrontEndPlugin
} from '@jupyterlab/application';
import { ILauncher } from '@jupyterlab/launcher';
import { ITranslator, nullTranslator } from '@jupyterlab/translation';
import { DisposableSet } from '@lumino/disposable';

import { KERNEL_ARGS } from './commandArgs';
import { MAGIC } from '../notebook/remoteCell';
import { CommandIds } from './commandIds';
import { notebookIcon, remoteNotebookIcon } from './icons';

/** The kernel whose cells run on a worker, and the one that knows the magics. */
const REMOTE_KERNEL = 'nbfn-remote';
const LOCAL_KERNEL = 'nbfn';

export const launcherPlugin: JupyterFrontEndPlugin<void> = {
  id: 'nbfn:launcher',
  description: 'Adds cards to the launcher.',
  autoStart: true,
  // Notebook 7 has no launcher.
  optional: [ILauncher, ITranslator],
  activate: (
    app: JupyterFrontEnd,
    launcher: ILauncher | null,
    translator: ITranslator | null
  ) => {
    if (!launcher) {
      return;
    }
    const trans = (translator ?? nullTranslator).load('nbfn');
    const { commands, serviceManager } = app;
    const category = trans.__('nbfn');
    commands.addCommand(CommandIds.newNotebook, {
      describedBy: KERNEL_ARGS,
      label: args =>
        args.kernelName === REMOTE_KERNEL
          ? trans.__('Remote Notebook')
          : trans.__('Notebook with %1', MAGIC),
      caption: args =>
        args.kernelName === REMOTE_KERNEL
          ? trans.__('A notebook whose cells run in a session on a worker')
          : trans.__('A notebook whose %1 cells run on workers', MAGIC),
      icon: args =>
        args.kernelName === REMOTE_KERNEL ? remoteNotebookIcon : notebookIcon,
      execute: args =>
        commands.execute('notebook:create-new', {
          ...(typeof args.cwd === 'string' && { cwd: args.cwd }),
          kernelName: args.kernelName ?? LOCAL_KERNEL
        })
    });
    launcher.add({
      command: CommandIds.openSidebar,
      args: { isLauncher: true },
      category,
      rank: 3
    });

    const { kernelspecs } = serviceManager;
    let cards = new DisposableSet();
    const addCards = (): void => {
      cards.dispose();
      cards = new DisposableSet();
      [REMOTE_KERNEL, LOCAL_KERNEL].forEach((kernelName, rank) => {
        if (kernelspecs.specs?.kernelspecs[kernelName]) {
          const command = CommandIds.newNotebook;
          const args = { kernelName };
          cards.add(launcher.add({ command, args, category, rank }));
        }
      });
    };
    kernelspecs.specsChanged.connect(addCards);
    addCards();
  }
};
