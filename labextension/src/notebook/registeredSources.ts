/** The registered sources of Functions, fetched once for each version. */
import { Signal, type ISignal } from '@lumino/signaling';

import type { IFunctionRow } from '../model/schema';

interface IEntry {
  version: number;
  /** null while it is fetched, and if the hub has none. */
  source: string | null;
}

export class RegisteredSources {
  /**
   * @param fetch - Fetches the source of the current version; empty if there is none.
   */
  constructor(fetch: (functionId: string) => Promise<string>) {
    this._fetch = fetch;
  }

  /** Emits when a source has arrived. */
  get changed(): ISignal<this, void> {
    return this._changed;
  }

  /** The source of the version of the row, null until it has arrived. */
  get(row: IFunctionRow): string | null {
    const entry = this._entries.get(row.id);
    if (entry?.version === row.version) {
      return entry.source;
    }
    const fetched = { version: row.version, source: null };
    this._entries.set(row.id, fetched);
    void this._fill(row.id, fetched);
    return null;
  }

  private async _fill(functionId: string, entry: IEntry): Promise<void> {
    try {
      entry.source = (await this._fetch(functionId)) || null;
      this._changed.emit();
    } catch {
      // Fetched again when the row is read after the next change.
      if (this._entries.get(functionId) === entry) {
        this._entries.delete(functionId);
      }
    }
  }

  private readonly _fetch: (functionId: string) => Promise<string>;
  private readonly _entries = new Map<string, IEntry>();
  private readonly _changed = new Signal<this, void>(this);
}
