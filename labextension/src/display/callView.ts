/** Shows a call from the hub's data: state, counts, errors, result, output and buttons. Text of users is only text. */
import type { TranslationBundle } from '@jupyterlab/translation';
import { Widget } from '@lumino/widgets';

import { clock, duration } from '../model/format';
import type { CallState, ICallRow, IErrorGroup } from '../model/schema';
import { isOver, type HubCall } from './hubCall';

/** Marks distinguish states without colours; as in nbfn/jupyter/views/status_style.py. */
const MARKS: Record<CallState, string> = {
  queued: '○',
  starting: '◌',
  running: '●',
  detached: '◇',
  succeeded: '✓',
  failed: '✗',
  cancelled: '■'
};

export interface ICallViewOptions {
  call: HubCall;
  trans: TranslationBundle;
}

export class CallView extends Widget {
  constructor(options: ICallViewOptions) {
    super();
    this._call = options.call;
    this._trans = options.trans;
    this.addClass('jp-nbfn-call');
    const head = this._element('div', 'head', this.node);
    this._mark = this._element('span', 'mark', head);
    this._mark.setAttribute('aria-hidden', 'true');
    this._title = this._element('b', 'title', head);
    this._status = this._element('span', 'status', head);
    this._status.setAttribute('role', 'status');
    const buttons = this._element('span', 'buttons', head);
    this._cancel = this._button(buttons, () => this._do(this._call.cancel()));
    this._retry = this._button(buttons, () => this._do(this._call.retry()));
    this._logs = this._button(buttons, () => this._toggleOutput());
    this._copy = this._button(buttons, () => this._copyId());
    this._bar = this._element('div', 'bar', this.node);
    this._note = this._element('div', 'note', this.node);
    this._result = this._element('pre', 'result', this.node);
    this._errors = this._element('div', 'errors', this.node);
    this._output = this._element('pre', 'output', this.node);
    this._output.tabIndex = 0;
    this._output.setAttribute('aria-label', this._trans.__('Output'));
    this._call.changed.connect(this._show, this);
    this._ticker = window.setInterval(() => this._tick(), 1000);
    this._show();
  }

  override dispose(): void {
    window.clearInterval(this._ticker);
    this._call.changed.disconnect(this._show, this);
    super.dispose();
  }

  /** Update everything; nodes are kept, so that focus and selection are kept. */
  private _show(): void {
    const { row, details } = this._call;
    if (row === null) {
      return;
    }
    this.node.dataset.state = row.state;
    this._mark.textContent = MARKS[row.state];
    this._title.textContent = row.version
      ? `${row.function} v${row.version}`
      : row.function;
    this._status.textContent = this._summary(row);
    this._showButtons(row);
    this._showBar(row);
    this._setText(this._note, this._noteText(row));
    this._setText(this._result, details?.result ?? details?.traceback ?? '');
    this._showErrors(details?.traceback ? [] : (details?.errors ?? []));
    this._showOutput();
  }

  /** Update the elapsed time. */
  private _tick(): void {
    const row = this._call.row;
    if (row && !isOver(row.state) && this._call.isLive) {
      this._status.textContent = this._summary(row);
    }
  }

  private _summary(row: ICallRow): string {
    return [
      `${this._word(row.state)} ${duration(this._call.seconds)}`,
      row.id.slice(0, 7),
      ...(row.total === 1 ? [] : [this._counts(row)])
    ].join(' · ');
  }

  private _word(state: CallState): string {
    const words: Record<CallState, string> = {
      queued: this._trans.__('queued'),
      starting: this._trans.__('starting'),
      running: this._trans.__('running'),
      detached: this._trans.__('detached'),
      succeeded: this._trans.__('succeeded'),
      failed: this._trans.__('failed'),
      cancelled: this._trans.__('cancelled')
    };
    return words[state];
  }

  /** All states that inputs are in, with their numbers. */
  private _counts(row: ICallRow): string {
    const counts: [number, string][] = [
      [row.succeeded, this._trans.__('succeeded')],
      [row.failed, this._trans.__('failed')],
      [row.cancelled, this._trans.__('cancelled')],
      [row.running, this._trans.__('running')],
      [row.waiting, this._trans.__('waiting')],
      [row.not_run, this._trans.__('not run')]
    ];
    const shown = counts
      .filter(([count]) => count > 0)
      .map(([count, word]) => `${count.toLocaleString('en-US')} ${word}`);
    const total = row.more ? '?' : row.total.toLocaleString('en-US');
    return this._trans.__('%1 of %2', shown.join(', ') || '0', total);
  }

  private _noteText(row: ICallRow): string {
    const parts: string[] = [];
    const waitsFor = this._call.details?.waiting_for;
    if (waitsFor && row.state === 'queued') {
      parts.push(waitsFor);
    }
    if (!this._call.isLive) {
      parts.push(this._stale(row));
    }
    if (this._problem) {
      parts.push(this._problem);
    }
    return parts.join(' · ');
  }

  /** As of when this is, and what to type. */
  private _stale(row: ICallRow): string {
    const time = clock(new Date(this._call.asOf));
    if (this._call.isUnknown) {
      return this._trans.__(
        'as of %1; the hub does not know this call any more',
        time
      );
    }
    if (!row.durable) {
      return this._trans.__('as of %1; the hub does not answer', time);
    }
    return this._trans.__(
      'as of %1; the hub does not answer. Later: %fn attach %2, or nbfn.FunctionCall.from_id("%3")',
      time,
      row.id,
      row.id
    );
  }

  private _showButtons(row: ICallRow): void {
    const { isLive, retriable } = this._call;
    const over = isOver(row.state);
    this._label(this._cancel, this._trans.__('Cancel'), !over && isLive);
    const words = [
      ...(row.failed ? [this._trans.__('failed')] : []),
      ...(row.cancelled ? [this._trans.__('cancelled')] : []),
      ...(row.not_run ? [this._trans.__('not run')] : [])
    ];
    const last = words.pop() ?? '';
    const which = words.length
      ? this._trans.__('%1 and %2', words.join(', '), last)
      : last;
    const count = retriable.toLocaleString('en-US');
    const label = this._trans.__('Retry %1 (%2)', which, count);
    this._label(this._retry, label, over && isLive && retriable > 0);
    this._label(this._logs, this._trans.__('Logs'), isLive || this._isOpen);
    this._logs.setAttribute('aria-expanded', String(this._isOpen));
    this._label(this._copy, this._trans.__('Copy id'), true);
  }

  private _showBar(row: ICallRow): void {
    this._bar.hidden = row.total === 1 || isOver(row.state);
    this._bar.replaceChildren();
    const parts: [number, string][] = [
      [row.succeeded, 'succeeded'],
      [row.failed, 'failed'],
      [row.running, 'running']
    ];
    for (const [count, state] of parts) {
      const part = this._element('div', 'barPart', this._bar);
      part.dataset.state = state;
      part.style.width = `${row.total ? (100 * count) / row.total : 0}%`;
    }
  }

  private _showErrors(groups: readonly IErrorGroup[]): void {
    const key = JSON.stringify(groups);
    if (key === this._shownErrors) {
      return; // an open traceback stays open
    }
    this._shownErrors = key;
    this._errors.replaceChildren();
    for (const group of groups) {
      const box = this._element('details', 'error', this._errors);
      const line = this._element('summary', '', box);
      const text = `${group.type}: ${group.message}`;
      line.textContent = `${group.count.toLocaleString('en-US')}× ${text}  ${group.where}`;
      const trace = this._element('pre', 'trace', box);
      trace.textContent = group.traceback || this._trans.__('No traceback.');
    }
  }

  private _showOutput(): void {
    const lines = this._call.lines;
    if (lines.length && !this._wasToggled) {
      this._isOpen = true; // what was printed meanwhile is shown without a click
      this._logs.setAttribute('aria-expanded', 'true');
    }
    const text = lines.map(line => line.message.replace(/\n$/, '')).join('\n');
    const node = this._output;
    const atEnd = node.scrollTop + node.clientHeight >= node.scrollHeight - 4;
    const shown = text || this._trans.__('No output so far.');
    if (node.textContent !== shown) {
      node.textContent = shown;
    }
    node.hidden = !this._isOpen;
    if (atEnd) {
      node.scrollTop = node.scrollHeight;
    }
  }

  private _toggleOutput(): void {
    this._wasToggled = true;
    this._isOpen = !this._isOpen;
    if (this._isOpen) {
      void this._call.follow();
    }
    this._show();
  }

  private _copyId(): void {
    const say = (text: string): void => {
      this._copy.textContent = text;
      window.setTimeout(() => this._show(), 1500);
    };
    navigator.clipboard.writeText(this._call.id).then(
      () => say(this._trans.__('Copied')),
      () => say(this._trans.__('Copy failed'))
    );
  }

  /** Show the error of an action, if it fails. */
  private _do(action: Promise<unknown>): void {
    const buttons = [this._cancel, this._retry];
    buttons.forEach(button => (button.disabled = true));
    this._problem = '';
    action
      .catch((reason: unknown) => {
        this._problem =
          reason instanceof Error ? reason.message : String(reason);
      })
      .finally(() => {
        buttons.forEach(button => (button.disabled = false));
        this._show();
      });
  }

  private _label(button: HTMLButtonElement, text: string, on: boolean): void {
    button.hidden = !on;
    button.textContent = on ? text : '';
  }

  private _setText(node: HTMLElement, text: string): void {
    node.textContent = text;
    node.hidden = !text;
  }

  private _button(parent: Element, act: () => void): HTMLButtonElement {
    const button = this._element('button', 'button', parent);
    button.type = 'button';
    button.addEventListener('click', act);
    return button;
  }

  private _element<K extends keyof HTMLElementTagNameMap>(
    tag: K,
    name: string,
    parent: Element
  ): HTMLElementTagNameMap[K] {
    const node = document.createElement(tag);
    if (name) {
      node.className = `jp-nbfn-call-${name}`;
    }
    parent.appendChild(node);
    return node;
  }

  private readonly _call: HubCall;
  private readonly _trans: TranslationBundle;
  private readonly _mark: HTMLElement;
  private readonly _title: HTMLElement;
  private readonly _status: HTMLElement;
  private readonly _cancel: HTMLButtonElement;
  private readonly _retry: HTMLButtonElement;
  private readonly _logs: HTMLButtonElement;
  private readonly _copy: HTMLButtonElement;
  private readonly _bar: HTMLElement;
  private readonly _note: HTMLElement;
  private readonly _result: HTMLElement;
  private readonly _errors: HTMLElement;
  private readonly _output: HTMLElement;
  private readonly _ticker: number;
  private _shownErrors = '';
  private _isOpen = false;
  private _wasToggled = false;
  private _problem = '';
}
