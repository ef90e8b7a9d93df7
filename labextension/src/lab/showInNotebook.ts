/** Opens the notebook in Notebook 7 with the panel shown, and shows the panel there. */
import type { JupyterFrontEnd } from '@jupyterlab/application';
import { URLExt } from '@jupyterlab/coreutils';
import type { TranslationBundle } from '@jupyterlab/translation';

import { NO_ARGS } from './commandArgs';
import { CommandIds } from './commandIds';

/** Lab's own command, which is there if Notebook 7 is installed. */
const OPEN_NOTEBOOK = 'jupyter-notebook:open-notebook';

/** The parameter of the page's address. */
const PARAMETER = 'nbfn';
const PANEL = 'panel';

/** Add the command to JupyterLab. */
export function addShowInNotebook(
  app: JupyterFrontEnd,
  trans: TranslationBundle
): void {
  const { commands } = app;
  const isInstalled = (): boolean => commands.hasCommand(OPEN_NOTEBOOK);
  commands.addCommand(CommandIds.showInNotebook, {
    describedBy: NO_ARGS,
    label: trans.__('Open in Notebook 7 with the Panel'),
    caption: trans.__(
      'Open the current notebook in Jupyter Notebook, and show Functions and calls there'
    ),
    isVisible: isInstalled,
    isEnabled: () => isInstalled() && commands.isEnabled(OPEN_NOTEBOOK),
    execute: () => {
      window.open(addressOf(app), '_blank', 'noopener');
    }
  });
}

/** In Notebook 7, show the panel if the address of the page says so. */
export function showPanelIfAsked(app: JupyterFrontEnd): void {
  const query = new URLSearchParams(window.location.search);
  if (query.get(PARAMETER) === PANEL) {
    void app.restored.then(() => app.commands.execute(CommandIds.openSidebar));
  }
}

/** The path of the document in the main area. */
function pathOf(app: JupyterFrontEnd): string {
  const widget = app.shell.currentWidget as {
    context?: { path?: string };
  } | null;
  return widget?.context?.path ?? '';
}

function addressOf(app: JupyterFrontEnd): string {
  const base = URLExt.join(
    app.serviceManager.serverSettings.baseUrl,
    'notebooks'
  );
  return `${URLExt.join(base, URLExt.encodeParts(pathOf(app)))}?${PARAMETER}=${PANEL}`;
}
