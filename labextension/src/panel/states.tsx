/** States as icon, word and colour, the same as in widgets. */
import type { TranslationBundle } from '@jupyterlab/translation';
import React from 'react';

import type { CallState, FunctionState, ICallRow } from '../model/schema';

/** States differ in shape as well as in colour. */
const ICONS: Readonly<Record<string, string>> = {
  idle: '○',
  blank: '○',
  busy: '●',
  starting: '◌',
  failing: '▲',
  stopped: '■',
  queued: '○',
  running: '●',
  succeeded: '✓',
  failed: '✗',
  cancelled: '■',
  detached: '◇',
  draining: '◍',
  lost: '✗',
  warning: '▲'
};

export function StateMark(props: {
  state: string;
  word: string;
}): React.JSX.Element {
  const { state, word } = props;
  return (
    <span className="jp-nbfn-state" data-state={state}>
      <span className="jp-nbfn-stateIcon" aria-hidden="true">
        {ICONS[state] ?? '●'}
      </span>{' '}
      {word}
    </span>
  );
}

export function functionStateWord(
  state: FunctionState,
  trans: TranslationBundle
): string {
  return {
    idle: trans.__('idle'),
    busy: trans.__('busy'),
    starting: trans.__('starting'),
    failing: trans.__('failing'),
    stopped: trans.__('stopped')
  }[state];
}

export function callStateWord(
  state: CallState,
  trans: TranslationBundle
): string {
  return {
    queued: trans.__('queued'),
    starting: trans.__('starting'),
    running: trans.__('running'),
    succeeded: trans.__('succeeded'),
    failed: trans.__('failed'),
    cancelled: trans.__('cancelled'),
    detached: trans.__('detached')
  }[state];
}

export function workerStateWord(
  state: string,
  trans: TranslationBundle
): string {
  const words: Readonly<Record<string, string>> = {
    starting: trans.__('starting'),
    blank: trans.__('ready'),
    idle: trans.__('idle'),
    busy: trans.__('busy'),
    draining: trans.__('draining'),
    lost: trans.__('lost')
  };
  return words[state] ?? state;
}

/** The icon of a call: a call that ended with failed inputs has a warning. */
export function callIconState(call: ICallRow): string {
  return call.state === 'succeeded' && call.failed > 0 ? 'warning' : call.state;
}

export function isOver(state: CallState): boolean {
  return state === 'succeeded' || state === 'failed' || state === 'cancelled';
}
