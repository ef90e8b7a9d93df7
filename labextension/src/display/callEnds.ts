/** Finds the calls that end, in the events that the server sends also to hidden pages. */
import { Signal, type ISignal } from '@lumino/signaling';

import type { ICallPatch, ICallRow, IOverviewChange } from '../model/schema';

/** Seconds that a call must have taken. */
export const LONG_CALL = 60;
/** Seconds after its end in which the end of a call that this page did not know is still news. */
const RECENT = 15;

/** Emits the rows of calls that have ended, if they took over a minute. */
export class CallEnds {
  /**
   * @param fetch - Returns the rows of all calls; asked for when an event is about a call that is not known.
   */
  constructor(private readonly _fetch: () => Promise<readonly ICallRow[]>) {}

  get ended(): ISignal<this, ICallRow> {
    return this._ended;
  }

  /** Fetch the rows of the calls that run now. */
  async start(): Promise<void> {
    const rows = await this._fetch().catch(() => []);
    for (const row of rows) {
      if (!this._rows.has(row.id)) {
        this._rows.set(row.id, row);
      }
    }
  }

  /** Handle an event of the server. */
  async receive(change: IOverviewChange): Promise<void> {
    for (const patch of change.calls) {
      await this._apply(patch, change.now);
    }
    for (const id of change.gone) {
      this._rows.delete(id);
    }
  }

  private async _apply(patch: ICallPatch, now: number): Promise<void> {
    const known = this._rows.get(patch.id);
    if (!known && patch.started === undefined) {
      await this.start();
      this._announce(this._rows.get(patch.id), now);
      return;
    }
    const row = { ...known, ...patch } as ICallRow;
    this._rows.set(row.id, row);
    if (!known || known.ended === null) {
      this._announce(row, now);
    }
  }

  private _announce(row: ICallRow | undefined, now: number): void {
    const ended = row?.ended ?? null;
    if (!row || ended === null || ended - row.started <= LONG_CALL) {
      return;
    }
    if (now - ended < RECENT && row.purpose !== 'session') {
      this._ended.emit(row);
    }
  }

  private readonly _rows = new Map<string, ICallRow>();
  private readonly _ended = new Signal<this, ICallRow>(this);
}
