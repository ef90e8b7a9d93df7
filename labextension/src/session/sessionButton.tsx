/** The item of a notebook's toolbar that names its session and the session's host. */
import { ReactWidget, ToolbarButtonComponent } from '@jupyterlab/ui-components';
import type { TranslationBundle } from '@jupyterlab/translation';
import React from 'react';

import type { ISessionStatus, SessionLink } from './sessionLink';

/** Characters of a worker's id that distinguish it from others. */
const ID_LENGTH = 9;
const MARKS = { none: '○', starting: '◌', running: '●' };

/** The state of a session in a few words. */
export function label(
  status: ISessionStatus,
  trans: TranslationBundle
): string {
  const mark = MARKS[status.state];
  switch (status.state) {
    case 'running':
      return `${mark} ${trans.__(
        'session %1 on %2',
        status.worker.slice(0, ID_LENGTH),
        status.host
      )}`;
    case 'starting':
      return `${mark} ${trans.__('session is starting')}`;
    default:
      return `${mark} ${trans.__('no session')}`;
  }
}

/** What the item says when the pointer is above it. */
export function caption(
  status: ISessionStatus,
  trans: TranslationBundle
): string {
  if (status.state === 'running') {
    return trans.__(
      'The cells of this notebook run in process %1 on %2. Click for more.',
      String(status.pid),
      status.host
    );
  }
  if (status.state === 'starting') {
    return trans.__('A session is starting on a worker.');
  }
  const next = trans.__('The next cell starts a session on a worker.');
  return status.reason
    ? `${trans.__('The last session ended: %1', status.reason)}\n${next}`
    : next;
}

export class SessionButton extends ReactWidget {
  constructor(
    private readonly _link: SessionLink,
    private readonly _trans: TranslationBundle,
    private readonly _onClick: () => void
  ) {
    super();
    this.addClass('jp-nbfn-session');
    _link.changed.connect(this._onChanged, this);
    this._onChanged();
  }

  override dispose(): void {
    this._link.dispose();
    super.dispose();
  }

  protected override render(): React.JSX.Element | null {
    const { status } = this._link;
    return (
      status && (
        <ToolbarButtonComponent
          className={`jp-nbfn-session-${status.state}`}
          label={label(status, this._trans)}
          tooltip={caption(status, this._trans)}
          onClick={this._onClick}
        />
      )
    );
  }

  private _onChanged(): void {
    this.setHidden(this._link.status === null);
    this.update();
  }
}
