/** The plugin that announces the end of long calls in JupyterLab, and on the desktop when its window is hidden. */
import type {
  JupyterFrontEnd,
  JupyterFrontEndPlugin
} from '@jupyterlab/application';
import { Notification as LabNotification } from '@jupyterlab/apputils';
import {
  ITranslator,
  nullTranslator,
  type TranslationBundle
} from '@jupyterlab/translation';

import { onChange } from '../model/events';
import { duration } from '../model/format';
import { request } from '../model/request';
import type { ICallRow, IOverviewReply } from '../model/schema';
import { IUserSettings } from '../model/userSettings';
import { CallEnds } from './callEnds';

/** Milliseconds that a notification about a call that succeeded stays. */
const AUTO_CLOSE = 10_000;

export const notificationPlugin: JupyterFrontEndPlugin<void> = {
  id: 'nbfn:notifications',
  description: 'Announces the end of calls that took over a minute.',
  autoStart: true,
  requires: [IUserSettings],
  optional: [ITranslator],
  activate: (
    app: JupyterFrontEnd,
    settings: IUserSettings,
    translator: ITranslator | null
  ) => {
    const { events, serverSettings } = app.serviceManager;
    const trans = (translator ?? nullTranslator).load('nbfn');
    const ends = new CallEnds(async () => {
      const reply = await request(serverSettings, 'overview');
      return (reply as IOverviewReply).overview?.calls ?? [];
    });
    ends.ended.connect((_, row) => {
      const how = settings.values.notifications;
      // A call that its notebook marked is announced whatever the setting is.
      if (row.notify || how !== 'off') {
        announce(row, trans);
        if (document.hidden && (row.notify || how === 'desktop')) {
          announceOnDesktop(row, trans);
        }
      }
    });
    settings.changed.connect((_, { notifications }) => {
      if (notifications === 'desktop' && mayAsk()) {
        void window.Notification.requestPermission();
      }
    });
    onChange(events.stream, change => void ends.receive(change));
    void ends.start();
  }
};

function announce(row: ICallRow, trans: TranslationBundle): void {
  const message = describe(row, trans);
  if (row.state === 'succeeded') {
    LabNotification.success(message, { autoClose: AUTO_CLOSE });
  } else if (row.state === 'failed') {
    LabNotification.error(message, { autoClose: false });
  } else {
    LabNotification.warning(message, { autoClose: AUTO_CLOSE });
  }
}

function announceOnDesktop(row: ICallRow, trans: TranslationBundle): void {
  if (
    'Notification' in window &&
    window.Notification.permission === 'granted'
  ) {
    const shown = new window.Notification(describe(row, trans), {
      body: row.origin,
      tag: row.id
    });
    shown.onclick = () => window.focus();
  }
}

function mayAsk(): boolean {
  return 'Notification' in window && Notification.permission === 'default';
}

/** Such as "train v2 failed after 1:12: 8 succeeded, 1 failed, 291 not run". */
function describe(row: ICallRow, trans: TranslationBundle): string {
  const name = row.version ? `${row.function} v${row.version}` : row.function;
  const took = duration((row.ended ?? row.started) - row.started);
  const counts: [number, string][] = [
    [row.succeeded, trans.__('succeeded')],
    [row.failed, trans.__('failed')],
    [row.cancelled, trans.__('cancelled')],
    [row.not_run, trans.__('not run')]
  ];
  const parts = counts
    .filter(([count]) => count > 0)
    .map(part => part.join(' '));
  const more = row.total === 1 ? '' : `: ${parts.join(', ')}`;
  switch (row.state) {
    case 'succeeded':
      return trans.__('%1 succeeded after %2%3', name, took, more);
    case 'failed':
      return trans.__('%1 failed after %2%3', name, took, more);
    default:
      return trans.__('%1 was cancelled after %2%3', name, took, more);
  }
}
