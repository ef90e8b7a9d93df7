/** Which row of a tree the focus moves to. */

/** What a tree must know of a row. */
export interface ITreeRow {
  key: string;
  /** The accessible name; typed letters are compared with `text`. */
  label: string;
  /** The text that typed letters are compared with. */
  text: string;
  /** 1 for the rows at the top. */
  level: number;
  /** null for a row that does not open. */
  isOpen: boolean | null;
  setSize: number;
  position: number;
}

/** Rows that Page Up and Page Down pass over. */
const PAGE = 10;
/** Milliseconds after which a typed letter begins a new search. */
const TYPING_TIME = 700;

/** The row that a key moves to; null if the key moves nowhere. */
export function nextRow(
  key: string,
  index: number,
  count: number
): number | null {
  const targets: Record<string, number> = {
    ArrowDown: index + 1,
    ArrowUp: index - 1,
    Home: 0,
    End: count - 1,
    PageDown: index + PAGE,
    PageUp: index - PAGE
  };
  if (!(key in targets)) {
    return null;
  }
  return Math.max(0, Math.min(targets[key], count - 1));
}

/** The next row whose text begins with the letters typed so far; null if there is none. */
export function typeAhead(
  typed: { text: string; at: number },
  letter: string,
  rows: readonly ITreeRow[],
  index: number
): number | null {
  const now = Date.now();
  typed.text = (now - typed.at > TYPING_TIME ? '' : typed.text) + letter;
  typed.at = now;
  // The same letter again moves on to the next row that begins with it.
  const isRepeated = typed.text === letter.repeat(typed.text.length);
  const text = (isRepeated ? letter : typed.text).toLowerCase();
  const first = isRepeated ? index + 1 : index;
  for (let step = 0; step < rows.length; step += 1) {
    const at = (first + step) % rows.length;
    if (rows[at].text.toLowerCase().startsWith(text)) {
      return at;
    }
  }
  return null;
}

/** The controls of a row that the arrow keys reach, in their order. */
export function controlsOf(row: HTMLElement): HTMLElement[] {
  return [...row.querySelectorAll<HTMLElement>('[data-control]')].filter(
    control => !(control instanceof HTMLButtonElement && control.disabled)
  );
}
