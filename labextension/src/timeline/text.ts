/** Texts about spans. */
import type { TranslationBundle } from '@jupyterlab/translation';

import { clock, duration } from '../model/format';
import { offset } from './layout';
import type { ISpan, Outcome } from './types';

/** wk-3fKq7… */
export function shortWorker(id: string): string {
  return id.length > 9 ? `${id.slice(0, 8)}…` : id;
}

export function outcomeText(
  outcome: Outcome,
  trans: TranslationBundle
): string {
  const texts: Record<Outcome, string> = {
    succeeded: trans.__('succeeded'),
    failed: trans.__('failed'),
    'timed out': trans.__('timed out'),
    'worker lost': trans.__('worker lost'),
    cancelled: trans.__('cancelled'),
    running: trans.__('running')
  };
  return texts[outcome];
}

/** The state as a mark beside its word: it does not depend on colour. */
export const MARKS: Record<Outcome, string> = {
  succeeded: '✓',
  failed: '✕',
  'timed out': '✕',
  'worker lost': '✕',
  cancelled: '⊘',
  running: '▶'
};

/** f[7], or f[7–41] for several quick inputs. */
export function inputName(span: ISpan): string {
  const last = span.index + span.inputs - 1;
  return span.inputs > 1
    ? `${span.call.name}[${span.index}–${last}]`
    : `${span.call.name}[${span.index}]`;
}

/** One sentence; times are counted from `origin`, if it is given. */
export function sentence(
  span: ISpan,
  origin: number | null,
  trans: TranslationBundle
): string {
  const parts = [
    inputName(span),
    outcomeText(span.outcome, trans),
    span.inputs > 1
      ? trans.__('%1 inputs in %2', span.inputs, seconds(span))
      : seconds(span),
    ...(span.attempt > 1 ? [trans.__('attempt %1', span.attempt)] : []),
    ...(origin === null
      ? [clock(new Date(span.started * 1000))]
      : [trans.__('started at %1', offset(span.started - origin, 0.01))]),
    trans.__('waited %1', duration(Math.max(span.started - span.queued, 0))),
    shortWorker(span.lane.worker)
  ];
  return parts.join(' · ');
}

function seconds(span: ISpan): string {
  return duration(span.ended - span.started);
}
