/** The plugin that names the session of a notebook on the remote kernel in the notebook's toolbar. */
import type {
  JupyterFrontEnd,
  JupyterFrontEndPlugin
} from '@jupyterlab/application';
import { ICommandPalette } from '@jupyterlab/apputils';
import { INotebookTracker, type NotebookPanel } from '@jupyterlab/notebook';
import {
  ITranslator,
  nullTranslator,
  type TranslationBundle
} from '@jupyterlab/translation';

import { SessionButton } from './sessionButton';
import { endSession, restartSession, showSession } from './sessionDialog';
import { SessionLink } from './sessionLink';

/** The item of the toolbar before which the session is named. */
const KERNEL_ITEM = 'kernelName';

/** The commands, which act on the current notebook. */
export const SessionCommands = {
  show: 'nbfn:show-own-session',
  end: 'nbfn:end-own-session',
  restart: 'nbfn:restart-own-session'
};

export const sessionPlugin: JupyterFrontEndPlugin<void> = {
  id: 'nbfn:session',
  description: 'Names the session of a notebook on the remote kernel.',
  autoStart: true,
  requires: [INotebookTracker],
  optional: [ITranslator, ICommandPalette],
  activate: (
    app: JupyterFrontEnd,
    tracker: INotebookTracker,
    translator: ITranslator | null,
    palette: ICommandPalette | null
  ) => {
    const trans = (translator ?? nullTranslator).load('nbfn');
    const links = new WeakMap<NotebookPanel, SessionLink>();
    app.docRegistry.addWidgetExtension('Notebook', {
      createNew: (panel: NotebookPanel) => {
        const link = new SessionLink(panel.sessionContext);
        links.set(panel, link);
        const button = new SessionButton(
          link,
          trans,
          () => void showSession(link, panel.title.label, trans)
        );
        link.changed.connect(() => app.commands.notifyCommandChanged());
        const { toolbar } = panel;
        if (!toolbar.insertBefore(KERNEL_ITEM, 'nbfn-session', button)) {
          toolbar.addItem('nbfn-session', button);
        }
        return button;
      }
    });
    addCommands(app, tracker, links, trans, palette);
  }
};

function addCommands(
  app: JupyterFrontEnd,
  tracker: INotebookTracker,
  links: WeakMap<NotebookPanel, SessionLink>,
  trans: TranslationBundle,
  palette: ICommandPalette | null
): void {
  const current = (): SessionLink | undefined =>
    tracker.currentWidget ? links.get(tracker.currentWidget) : undefined;
  const add = (
    id: string,
    label: string,
    isEnabled: (link: SessionLink) => boolean,
    act: typeof showSession
  ): void => {
    app.commands.addCommand(id, {
      label,
      isEnabled: () => {
        const link = current();
        return link !== undefined && isEnabled(link);
      },
      execute: async () => {
        const link = current();
        if (link !== undefined && isEnabled(link)) {
          await act(link, tracker.currentWidget?.title.label ?? '', trans);
        }
      },
      describedBy: { args: { type: 'object', properties: {} } }
    });
    palette?.addItem({ command: id, category: trans.__('nbfn') });
  };
  const runs = (link: SessionLink): boolean => link.status?.state === 'running';
  add(
    SessionCommands.show,
    trans.__('Show Session of This Notebook'),
    link => link.status !== null,
    showSession
  );
  add(
    SessionCommands.restart,
    trans.__('Restart Session of This Notebook…'),
    runs,
    restartSession
  );
  add(
    SessionCommands.end,
    trans.__('End Session of This Notebook…'),
    runs,
    endSession
  );
}
