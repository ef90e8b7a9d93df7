/** The MIME bundle of a display of a call, as nbfn/jupyter/views/widget_output.py makes it. */
import type { ReadonlyPartialJSONObject } from '@lumino/coreutils';

export const CALL_MIME = 'application/vnd.nbfn.call+json';
export const WIDGET_MIME = 'application/vnd.jupyter.widget-view+json';
export const HTML_MIME = 'text/html';

/** The call of a display. Untrusted: a notebook may contain anything. */
export interface IShownCall {
  call: string;
  kind: string;
  /** Whether the call had ended. */
  ended: boolean;
  /** When the text of the bundle was made, in seconds since 1970. */
  at: number;
  /** Identifies the display in its kernel. */
  display: string;
}

/** The call of a bundle; null if it has none. */
export function shownCall(data: ReadonlyPartialJSONObject): IShownCall | null {
  const found = data[CALL_MIME] as Partial<IShownCall> | null | undefined;
  if (
    typeof found !== 'object' ||
    !/^fc-[0-9A-Za-z]{22}$/.test(`${found?.call}`)
  ) {
    return null;
  }
  return {
    call: String(found?.call),
    kind: String(found?.kind),
    ended: found?.ended === true,
    at: Number(found?.at) || 0,
    display: String(found?.display)
  };
}
