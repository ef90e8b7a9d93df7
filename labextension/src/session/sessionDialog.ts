/** The dialog about a session, and the question before it is ended. */
import { Dialog, showDialog } from '@jupyterlab/apputils';
import type { TranslationBundle } from '@jupyterlab/translation';
import { Widget } from '@lumino/widgets';

import { caption } from './sessionButton';
import type { ISessionStatus, SessionLink } from './sessionLink';

/** Show the session, with buttons that end or restart it. */
export async function showSession(
  link: SessionLink,
  name: string,
  trans: TranslationBundle
): Promise<void> {
  const { status } = link;
  if (status === null) {
    return;
  }
  if (status.state !== 'running') {
    await showDialog({
      title: trans.__('Session of %1', name),
      body: caption(status, trans),
      buttons: [Dialog.okButton({ label: trans.__('Close') })]
    });
    return;
  }
  const restart = trans.__('Restart session…');
  const { button } = await showDialog({
    title: trans.__('Session of %1', name),
    body: facts(status, trans),
    buttons: [
      Dialog.cancelButton({ label: trans.__('Close') }),
      Dialog.warnButton({ label: restart }),
      Dialog.warnButton({ label: trans.__('End session…') })
    ],
    defaultButton: 0
  });
  if (button.accept && button.label === restart) {
    await restartSession(link, name, trans);
  } else if (button.accept) {
    await endSession(link, name, trans);
  }
}

/** Ask, and end the session. */
export async function endSession(
  link: SessionLink,
  name: string,
  trans: TranslationBundle
): Promise<void> {
  const title = trans.__('End the session of %1?', name);
  if (await isConfirmed(title, trans.__('End session'), trans)) {
    link.end();
  }
}

/** Ask, and restart the session. */
export async function restartSession(
  link: SessionLink,
  name: string,
  trans: TranslationBundle
): Promise<void> {
  const title = trans.__('Restart the session of %1?', name);
  if (await isConfirmed(title, trans.__('Restart session'), trans)) {
    link.restart();
  }
}

async function isConfirmed(
  title: string,
  accept: string,
  trans: TranslationBundle
): Promise<boolean> {
  const { button } = await showDialog({
    title,
    body: trans.__('All its variables will be lost.'),
    buttons: [
      Dialog.cancelButton({ label: trans.__('Cancel') }),
      Dialog.warnButton({ label: accept })
    ],
    defaultButton: 0
  });
  return button.accept;
}

function facts(status: ISessionStatus, trans: TranslationBundle): Widget {
  const list = document.createElement('dl');
  list.className = 'jp-nbfn-session-facts';
  const rows = [
    [trans.__('Worker'), status.worker],
    [trans.__('Host'), status.host],
    [trans.__('Process'), String(status.pid)],
    [trans.__('Started'), new Date(status.started * 1000).toLocaleString()]
  ];
  for (const [term, value] of rows) {
    list.appendChild(document.createElement('dt')).textContent = term;
    list.appendChild(document.createElement('dd')).textContent = value;
  }
  return new Widget({ node: list });
}
