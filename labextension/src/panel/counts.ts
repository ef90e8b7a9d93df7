/** The numbers of inputs of a call in each state; they add up to its total. */
import type { TranslationBundle } from '@jupyterlab/translation';

import type { ICallRow } from '../model/schema';

/** Inputs that have ended, in whatever way. */
export function endedInputs(call: ICallRow): number {
  return call.succeeded + call.failed + call.cancelled + call.not_run;
}

/** "605 succeeded, 7 failed, 8 running, 380 waiting"; states without inputs are omitted. */
export function countsText(call: ICallRow, trans: TranslationBundle): string[] {
  const parts: [number, string][] = [
    [call.succeeded, trans.__('%1 succeeded', call.succeeded)],
    [call.failed, trans.__('%1 failed', call.failed)],
    [call.cancelled, trans.__('%1 cancelled', call.cancelled)],
    [call.running, trans.__('%1 running', call.running)],
    [call.waiting, trans.__('%1 waiting', call.waiting)],
    [call.not_run, trans.__('%1 not run', call.not_run)]
  ];
  return parts.filter(([count]) => count > 0).map(([, text]) => text);
}

/** "612 / 1000"; the total is unknown while inputs are still read from an iterable. */
export function progressText(call: ICallRow): string {
  return `${endedInputs(call)} / ${call.more ? '?' : call.total}`;
}

/** Inputs that *Retry failed and not run* would run. */
export function retriableInputs(call: ICallRow): number {
  return call.failed + call.not_run;
}
