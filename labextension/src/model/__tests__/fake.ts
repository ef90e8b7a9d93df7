/** A server in memory, with the example that pytest uses too. */
import golden from '../../../../tests/contract/overview.json';

import type { IApi } from '../api';
import type {
  IAutoscaler,
  IAutoscalerChange,
  IFunctionRow,
  IOverview,
  IOverviewChange,
  IOverviewReply
} from '../schema';

export const SQUARE = 'fu-0000000000000000000001';
export const EMBED_CALL = 'fc-0000000000000000000001';

export class FakeApi implements IApi {
  reply: IOverviewReply = structuredClone(golden) as IOverviewReply;
  readonly warm: [string, number][] = [];
  readonly cancelled: string[] = [];
  fetches = 0;
  /** When set, every request that changes something fails with it. */
  refusal: string | null = null;
  /** Whether the server does not respond. */
  isDown = false;

  get overviewOf(): IOverview {
    if (!this.reply.overview) {
      throw new Error('this fake has no hub');
    }
    return this.reply.overview;
  }

  get square(): IFunctionRow {
    const row = this.overviewOf.functions.find(each => each.id === SQUARE);
    if (!row) {
      throw new Error('the golden example has lost its square');
    }
    return row;
  }

  overview(): Promise<IOverviewReply> {
    this.fetches += 1;
    return this.isDown
      ? Promise.reject(new Error('The Jupyter server does not respond.'))
      : Promise.resolve(structuredClone(this.reply));
  }

  /** The event that continues the overview of `reply`. */
  change(given: Partial<IOverviewChange> = {}): IOverviewChange {
    const { stream, revision, now, hub, unfinished } = this.overviewOf;
    const rows = { functions: [], calls: [], workers: [], gone: [] };
    const { connection, message } = this.reply;
    const step = { previous: revision, revision: revision + 1 };
    return {
      ...{ stream, ...step, now, connection, message, hub, unfinished },
      ...rows,
      ...given
    };
  }

  async setAutoscaler(
    functionId: string,
    change: IAutoscalerChange
  ): Promise<IAutoscaler> {
    const warm = change.min_containers ?? this.square.min_containers;
    this.warm.push([functionId, warm]);
    await this._change(() => {
      this.square.min_containers = warm;
    });
    const { min_containers, max_containers } = this.square;
    const { buffer_containers, scaledown_window } = this.square;
    return {
      min_containers,
      max_containers,
      buffer_containers,
      scaledown_window
    };
  }

  cancelCall(callId: string): Promise<void> {
    this.cancelled.push(callId);
    return this._change(() => {
      this.overviewOf.calls = this.overviewOf.calls.filter(
        call => call.id !== callId
      );
    });
  }

  startHub(): Promise<void> {
    return this._change(() => {
      this.reply = structuredClone(golden) as IOverviewReply;
    });
  }

  private _change(apply: () => void): Promise<void> {
    if (this.refusal !== null) {
      return Promise.reject(new Error(this.refusal));
    }
    apply();
    return Promise.resolve();
  }
}
