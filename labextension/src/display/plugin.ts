/** The plugin that renders displays of calls in notebooks. */
import type {
  JupyterFrontEnd,
  JupyterFrontEndPlugin
} from '@jupyterlab/application';
import type { NotebookPanel } from '@jupyterlab/notebook';
import { ITranslator, nullTranslator } from '@jupyterlab/translation';

import { IHubModel } from '../model/tokens';
import { callRendererFactory } from './callRenderer';
import { CallRequests } from './callRequests';
import { KernelLink } from './kernelLink';
import { ModelRows } from './modelRows';

/** Before the widgets of ipywidgets (-10), which the renderer contains. */
const RANK = -20;

export const displayPlugin: JupyterFrontEndPlugin<void> = {
  id: 'nbfn:displays',
  description:
    'Shows calls in the outputs of notebooks, also without a kernel.',
  autoStart: true,
  requires: [IHubModel],
  optional: [ITranslator],
  activate: (
    app: JupyterFrontEnd,
    model: IHubModel,
    translator: ITranslator | null
  ) => {
    const requests = new CallRequests(app.serviceManager.serverSettings);
    const rows = new ModelRows(model);
    const trans = (translator ?? nullTranslator).load('nbfn');
    app.docRegistry.addWidgetExtension('Notebook', {
      createNew: (panel: NotebookPanel) => {
        const { rendermime } = panel.content;
        const link = new KernelLink(panel, {
          rendermime,
          rows,
          requests,
          trans
        });
        rendermime.addFactory(callRendererFactory(link), RANK);
      }
    });
  }
};
