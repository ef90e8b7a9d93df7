/** The mark below the number of a remote cell: registered, edited or running on v4. */
import type { Cell } from '@jupyterlab/cells';
import type { TranslationBundle } from '@jupyterlab/translation';

import type { ICellState } from './cellStates';

const CLASS = 'jp-nbfn-cellMark';

/** Shapes differ as well as colours. */
const ICONS: Readonly<Record<ICellState['registration'], string>> = {
  new: '○',
  registered: '✓',
  edited: '▲'
};

/** Show the state of a cell; null removes the mark. */
export function showMark(
  cell: Cell,
  state: ICellState | null,
  trans: TranslationBundle
): void {
  const area = cell.inputArea?.node;
  if (!area) {
    return; // a cell far outside of the viewport; it is marked when it is scrolled into view
  }
  const mark = area.querySelector<HTMLElement>(`:scope > .${CLASS}`);
  if (state === null) {
    mark?.remove();
    return;
  }
  const shown = mark ?? area.appendChild(createMark());
  const lines = linesOf(state, trans);
  const key = JSON.stringify(lines);
  if (shown.dataset.key !== key) {
    shown.dataset.key = key;
    shown.dataset.state = state.registration;
    shown.dataset.running = String(state.running.length > 0);
    shown.title = titleOf(state, trans);
    shown.setAttribute('aria-label', shown.title);
    shown.replaceChildren(...lines.map(createLine));
  }
}

function createMark(): HTMLElement {
  const mark = document.createElement('div');
  mark.className = CLASS;
  mark.setAttribute('role', 'img');
  return mark;
}

function createLine([kind, text]: [string, string]): HTMLElement {
  const line = document.createElement('div');
  line.dataset.kind = kind;
  line.textContent = text;
  return line;
}

function linesOf(
  state: ICellState,
  trans: TranslationBundle
): [string, string][] {
  const registration: [string, string] = [
    state.registration,
    `${ICONS[state.registration]} ${registrationWord(state, trans)}`
  ];
  if (state.running.length === 0) {
    return [registration];
  }
  const running = trans.__('running on %1', versionsOf(state));
  const line: [string, string] = ['running', `● ${running}`];
  return state.registration === 'registered' ? [line] : [registration, line];
}

function registrationWord(state: ICellState, trans: TranslationBundle): string {
  switch (state.registration) {
    case 'new':
      return trans.__('new');
    case 'edited':
      return trans.__('edited');
    case 'registered':
      return state.rows.map(row => `v${row.version}`)[0] ?? '';
  }
}

function versionsOf(state: ICellState): string {
  return state.running.map(version => `v${version}`).join(', ');
}

function titleOf(state: ICellState, trans: TranslationBundle): string {
  const names = state.rows
    .map(row => `${row.app}/${row.name} v${row.version}`)
    .join(', ');
  const sentences = {
    new: trans.__('Not registered: run the cell.'),
    registered: trans.__('Registered: %1.', names),
    edited: trans.__(
      'Edited: the registered code of %1 differs. Run the cell to register it.',
      names
    )
  };
  const running =
    state.running.length > 0
      ? ` ${trans.__('Running on %1.', versionsOf(state))}`
      : '';
  return sentences[state.registration] + running;
}
