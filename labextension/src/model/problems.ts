/** The errors of actions, each at the row that it concerns, until they are dismissed or the action succeeds. */
import { Signal, type ISignal } from '@lumino/signaling';

export class Problems {
  /** Emits when an error was added or removed. */
  get changed(): ISignal<this, void> {
    return this._changed;
  }

  /** The error of a subject: the id of a row, or 'hub'. */
  of(subject: string): string | null {
    return this._messages.get(subject) ?? null;
  }

  /** The subjects that have an error. */
  get subjects(): readonly string[] {
    return [...this._messages.keys()];
  }

  report(subject: string, reason: unknown): void {
    this._messages.set(subject, messageOf(reason));
    this._changed.emit();
  }

  dismiss(subject: string): void {
    if (this._messages.delete(subject)) {
      this._changed.emit();
    }
  }

  private readonly _messages = new Map<string, string>();
  private readonly _changed = new Signal<this, void>(this);
}

export function messageOf(reason: unknown): string {
  return reason instanceof Error ? reason.message : String(reason);
}
