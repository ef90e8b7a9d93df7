/**
 * Changes of the number of warm workers: shown at once, sent after the last click, and undone on request. The number
 * of a Function is the hub's as soon as the hub has responded.
 */
import type { IDisposable } from '@lumino/disposable';
import { Debouncer } from '@lumino/polling';
import { Signal, type ISignal } from '@lumino/signaling';

import { ignoreDisposal } from '../model/debouncer';
import type {
  IAutoscaler,
  IAutoscalerChange,
  IFunctionRow
} from '../model/schema';

/** Milliseconds after the last click until the number is sent. */
export const DEBOUNCE = 350;
/** Milliseconds for which a change can be undone. */
export const UNDO_TIME = 10_000;

export interface IWarmChange {
  from: number;
  to: number;
}

interface IWarmRequests {
  setAutoscaler(
    functionId: string,
    change: IAutoscalerChange
  ): Promise<IAutoscaler>;
}

interface IOptions {
  api: IWarmRequests;
  /** Called with the settings of the hub. */
  onSet: (functionId: string, settings: IAutoscaler) => void;
  /** Called when the hub refuses a change; the row shows the old number again. */
  onRefused: (functionId: string, reason: unknown) => void;
}

export class WarmChanges implements IDisposable {
  constructor(options: IOptions) {
    this._options = options;
  }

  /** Emits when a number or the possibility to undo has changed. */
  get changed(): ISignal<this, void> {
    return this._changed;
  }

  get isDisposed(): boolean {
    return this._isDisposed;
  }

  /** The number to show: the user's until the hub has responded. */
  value(row: IFunctionRow): number {
    return this._pending.get(row.id) ?? row.min_containers;
  }

  /** The last change of a Function that can be undone. */
  undoable(functionId: string): IWarmChange | null {
    return this._undoable.get(functionId) ?? null;
  }

  set(row: IFunctionRow, value: number): void {
    const from = this._undoable.get(row.id)?.from ?? this.value(row);
    this._pending.set(row.id, value);
    this._remember(row.id, from, value);
    this._changed.emit();
    this._sender(row.id).invoke().catch(ignoreDisposal);
  }

  undo(row: IFunctionRow): void {
    const change = this._undoable.get(row.id);
    if (!change) {
      return;
    }
    this._forget(row.id);
    this._pending.set(row.id, change.from);
    this._changed.emit();
    this._sender(row.id).invoke().catch(ignoreDisposal);
  }

  dispose(): void {
    this._isDisposed = true;
    for (const sender of this._senders.values()) {
      sender.dispose();
    }
    for (const timer of this._timers.values()) {
      window.clearTimeout(timer);
    }
    Signal.clearData(this);
  }

  private _remember(functionId: string, from: number, to: number): void {
    this._forget(functionId);
    if (from === to) {
      return;
    }
    this._undoable.set(functionId, { from, to });
    const forget = (): void => {
      this._forget(functionId);
      this._changed.emit();
    };
    this._timers.set(functionId, window.setTimeout(forget, UNDO_TIME));
  }

  private _forget(functionId: string): void {
    this._undoable.delete(functionId);
    window.clearTimeout(this._timers.get(functionId));
    this._timers.delete(functionId);
  }

  private _sender(functionId: string): Debouncer<void> {
    const known = this._senders.get(functionId);
    if (known) {
      return known;
    }
    const made = new Debouncer(() => this._send(functionId), DEBOUNCE);
    this._senders.set(functionId, made);
    return made;
  }

  private async _send(functionId: string): Promise<void> {
    const pending = this._pending.get(functionId);
    if (pending === undefined) {
      return;
    }
    const { api, onSet, onRefused } = this._options;
    try {
      const settings = { min_containers: pending };
      onSet(functionId, await api.setAutoscaler(functionId, settings));
    } catch (reason) {
      this._forget(functionId);
      onRefused(functionId, reason);
    }
    if (this.isDisposed) {
      return;
    }
    // A click during the request has stored a newer number, which is sent later.
    if (this._pending.get(functionId) === pending) {
      this._pending.delete(functionId);
    }
    this._changed.emit();
  }

  private readonly _options: IOptions;
  private readonly _pending = new Map<string, number>();
  private readonly _undoable = new Map<string, IWarmChange>();
  private readonly _timers = new Map<string, number>();
  private readonly _senders = new Map<string, Debouncer<void>>();
  private readonly _changed = new Signal<this, void>(this);
  private _isDisposed = false;
}
