/** What a row has fetched beyond its columns, such as the errors of a call; one value for each id. */
import { Signal, type ISignal } from '@lumino/signaling';

import { messageOf } from '../model/problems';

export interface IFetched<T> {
  /** null until the first response. */
  value: T | null;
  error: string | null;
  isLoading: boolean;
}

const NOTHING = { value: null, error: null, isLoading: false };

export class Fetched<T> {
  constructor(fetch: (id: string) => Promise<T>) {
    this._fetch = fetch;
  }

  get changed(): ISignal<this, void> {
    return this._changed;
  }

  of(id: string): IFetched<T> {
    return this._values.get(id) ?? NOTHING;
  }

  /** Fetch a value again; the old one stays until the response. */
  async load(id: string): Promise<void> {
    const known = this.of(id);
    if (known.isLoading) {
      this._again.add(id);
      return;
    }
    this._set(id, { ...known, isLoading: true });
    try {
      const value = await this._fetch(id);
      this._set(id, { value, error: null, isLoading: false });
    } catch (reason) {
      const error = messageOf(reason);
      this._set(id, { value: known.value, error, isLoading: false });
    }
    if (this._again.delete(id)) {
      await this.load(id);
    }
  }

  dispose(): void {
    this._again.clear();
    Signal.clearData(this);
  }

  private _set(id: string, value: IFetched<T>): void {
    this._values.set(id, value);
    this._changed.emit();
  }

  private readonly _fetch: (id: string) => Promise<T>;
  private readonly _changed = new Signal<this, void>(this);
  private readonly _values = new Map<string, IFetched<T>>();
  private readonly _again = new Set<string>();
}
