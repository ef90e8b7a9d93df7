/** The filter of the panel: a text, and whether only rows of the current notebook are shown. */
import { Signal, type ISignal } from '@lumino/signaling';

import type { ICallRow, IFunctionRow, IWorkerRow } from '../model/schema';

export type Scope = 'notebook' | 'all';

export class Filter {
  get changed(): ISignal<this, void> {
    return this._changed;
  }

  /** Emits when the text has changed. */
  get searchChanged(): ISignal<this, void> {
    return this._searchChanged;
  }

  get search(): string {
    return this._search;
  }

  set search(text: string) {
    if (text !== this._search) {
      this._search = text;
      this._words = text.toLowerCase().split(/\s+/).filter(Boolean);
      this._searchChanged.emit();
      this._changed.emit();
    }
  }

  get scope(): Scope {
    return this._scope;
  }

  set scope(scope: Scope) {
    if (scope !== this._scope) {
      this._scope = scope;
      this._changed.emit();
    }
  }

  /** The path of the current notebook relative to the root of the server; null if none is open. */
  get notebook(): string | null {
    return this._notebook;
  }

  set notebook(path: string | null) {
    if (path !== this._notebook) {
      this._notebook = path;
      this._changed.emit();
    }
  }

  /** Whether anything is hidden. */
  get isActive(): boolean {
    return this._words.length > 0 || this._scope === 'notebook';
  }

  /** Show everything again. */
  clear(): void {
    this.search = '';
    this.scope = 'all';
  }

  passesFunction(row: IFunctionRow): boolean {
    return (
      this._isHere(row.owner) &&
      this._matches(`${row.app}/${row.name} ${row.id}`)
    );
  }

  passesCall(row: ICallRow): boolean {
    return (
      this._isHere(row.origin) &&
      this._matches(
        `${row.app}/${row.function}.${row.kind} ${row.id} ${row.origin} ${row.state}`
      )
    );
  }

  /** Workers of Functions that are shown pass, and when all notebooks are shown, idle ones. */
  passesWorker(
    row: IWorkerRow,
    functions: ReadonlyMap<string, IFunctionRow>
  ): boolean {
    const ofFunction = functions.get(row.function_id ?? '');
    const isHere =
      this._scope === 'all' || (ofFunction && this._isHere(ofFunction.owner));
    return Boolean(
      isHere &&
      this._matches(
        `${row.app ?? ''}/${row.function ?? ''} ${row.id} ${row.host} ${row.pid} ${row.state}`
      )
    );
  }

  /** Paths of the hub may be absolute, those of the page are relative to the root of the server. */
  private _isHere(path: string): boolean {
    return (
      this._scope === 'all' ||
      (this._notebook !== null && isSamePath(path, this._notebook))
    );
  }

  private _matches(text: string): boolean {
    const lower = text.toLowerCase();
    return this._words.every(word => lower.includes(word));
  }

  private readonly _changed = new Signal<this, void>(this);
  private readonly _searchChanged = new Signal<this, void>(this);
  private _search = '';
  private _words: readonly string[] = [];
  private _scope: Scope = 'all';
  private _notebook: string | null = null;
}

function isSamePath(path: string, relative: string): boolean {
  return path === relative || path.endsWith(`/${relative}`);
}
