/** Says in sentences why a map is slow. */
import type { TranslationBundle } from '@jupyterlab/translation';

import { duration } from '../model/format';
import type { ITimelineSummary } from '../model/schema';

/** A part of the time of all workers; the shares of all parts add up to 1. */
export interface IShare {
  name: 'running' | 'other' | 'starting' | 'waiting' | 'idle';
  label: string;
  about: string;
  share: number;
  seconds: number;
}

export function shares(
  summary: ITimelineSummary,
  trans: TranslationBundle
): IShare[] {
  const total =
    summary.running +
    summary.other +
    summary.starting +
    summary.waiting +
    summary.idle;
  const part = (
    name: IShare['name'],
    label: string,
    about: string
  ): IShare => ({
    name,
    label,
    about,
    seconds: summary[name],
    share: total > 0 ? summary[name] / total : 0
  });
  return [
    part(
      'running',
      trans.__('running'),
      trans.__('Workers ran the inputs that are shown.')
    ),
    part(
      'other',
      trans.__('other inputs'),
      trans.__('The same workers ran inputs of other calls.')
    ),
    part(
      'starting',
      trans.__('starting workers'),
      trans.__('Workers started and loaded the function.')
    ),
    part(
      'waiting',
      trans.__('waiting'),
      trans.__('Workers ran nothing although inputs waited.')
    ),
    part('idle', trans.__('idle'), trans.__('No input waited.'))
  ];
}

/** Sentences about what takes the time, the most important one first. */
export function advice(
  summary: ITimelineSummary,
  trans: TranslationBundle
): string[] {
  const found: string[] = [];
  const by = new Map(
    shares(summary, trans).map(each => [each.name, each.share])
  );
  const share = (name: IShare['name']): number => by.get(name) ?? 0;
  const length = summary.end - summary.start;
  if (summary.inputs + summary.queued === 0 && summary.running === 0) {
    return [];
  }
  if (share('starting') > 0.25) {
    found.push(
      trans.__(
        'Starting workers took %1 of the time. Keep some warm (--warm 1), or load less at import.',
        percent(share('starting'))
      )
    );
  }
  if (summary.workers > 1 && length > 0 && summary.tail > 0.2 * length) {
    found.push(
      trans.__(
        'One worker ran alone for the last %1. Start the slowest inputs first, or divide them.',
        duration(summary.tail)
      )
    );
  }
  if (share('idle') > 0.4) {
    found.push(
      trans.__(
        'Workers were idle for %1 of the time: no input waited. More workers would not help.',
        percent(share('idle'))
      )
    );
  }
  if (share('other') > 0.25) {
    found.push(
      trans.__(
        'Other calls used the same workers for %1 of the time.',
        percent(share('other'))
      )
    );
  }
  if (share('waiting') > 0.25) {
    found.push(
      trans.__(
        'Workers waited for %1 of the time although there were inputs: large arguments or results, a slow consumer, or inputs that take less than a millisecond.',
        percent(share('waiting'))
      )
    );
  }
  if (
    summary.duration_p95 > 5 * summary.duration_p50 &&
    summary.duration_p95 > 0.1
  ) {
    found.push(
      trans.__(
        'A few inputs are much slower than the others: 5 % take over %1, half take under %2.',
        duration(summary.duration_p95),
        duration(summary.duration_p50)
      )
    );
  }
  if (share('running') > 0.7 && found.length === 0) {
    found.push(
      trans.__(
        'Workers ran inputs for %1 of the time. Only faster code or more workers (--max) would help.',
        percent(share('running'))
      )
    );
  }
  return found;
}

export function percent(share: number): string {
  const value = share * 100;
  return value > 0 && value < 1 ? '<1 %' : `${Math.round(value)} %`;
}
