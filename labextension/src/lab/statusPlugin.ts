/** The plugin that adds the item of the status bar. */
import type {
  JupyterFrontEnd,
  JupyterFrontEndPlugin
} from '@jupyterlab/application';
import { IStatusBar } from '@jupyterlab/statusbar';
import { ITranslator, nullTranslator } from '@jupyterlab/translation';

import { IHubModel } from '../model/tokens';
import { CommandIds } from './commandIds';
import { StatusItem } from './statusItem';

export const statusPlugin: JupyterFrontEndPlugin<void> = {
  id: 'nbfn:status',
  description: 'Shows in the status bar how many calls run.',
  autoStart: true,
  requires: [IHubModel],
  // Notebook 7 has no status bar.
  optional: [IStatusBar, ITranslator],
  activate: (
    app: JupyterFrontEnd,
    model: IHubModel,
    statusBar: IStatusBar | null,
    translator: ITranslator | null
  ) => {
    if (!statusBar) {
      return;
    }
    const trans = (translator ?? nullTranslator).load('nbfn');
    const item = new StatusItem(
      model,
      trans,
      () => void app.commands.execute(CommandIds.openSidebar)
    );
    statusBar.registerStatusItem('nbfn:status', {
      item,
      align: 'left',
      rank: 5
    });
  }
};
