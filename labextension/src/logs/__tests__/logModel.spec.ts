import { afterEach, describe, expect, it, vi } from 'vitest';

import type { ILogRow, ILogsPage, ILogsQuery } from '../../model/schema';
import { LogModel } from '../logModel';

function line(id: number, change: Partial<ILogRow> = {}): ILogRow {
  return {
    id,
    at: 1000 + id,
    source: 'stdout',
    app: 'ap',
    function: 'fu',
    call: 'fc',
    index: 0,
    worker: 'wk',
    message: `line ${id}`,
    ...change
  };
}

/** A server whose requests wait until `answer` or `fail` is called. */
class FakeServer {
  readonly places: ILogsQuery[] = [];

  logs = (place: ILogsQuery, signal?: AbortSignal): Promise<ILogsPage> => {
    this.places.push(place);
    return new Promise((resolve, reject) => {
      this.answer = (lines, ended = false) =>
        resolve({ lines, last: lines.at(-1)?.id ?? 0, more: false, ended });
      this.fail = () =>
        reject(new Error('The Jupyter server does not respond.'));
      signal?.addEventListener('abort', () => reject(new Error('aborted')));
    });
  };

  answer: (lines: ILogRow[], ended?: boolean) => void = () => undefined;
  fail: () => void = () => undefined;
}

async function settle(): Promise<void> {
  await vi.advanceTimersByTimeAsync(0);
}

describe('LogModel', () => {
  afterEach(() => void vi.useRealTimers());

  function start(): [FakeServer, LogModel] {
    vi.useFakeTimers();
    const server = new FakeServer();
    const model = new LogModel(server, { call: 'fc' });
    model.isVisible = true;
    return [server, model];
  }

  it('shows the last lines, and follows', async () => {
    const [server, model] = start();
    server.answer([line(1), line(2)]);
    await settle();
    server.answer([line(3)]);
    await settle();
    expect(model.lines.map(each => each.id)).toEqual([1, 2, 3]);
    expect(server.places[0]).toHaveProperty('tail');
    expect(server.places.slice(1).map(place => place.after)).toEqual([2, 3]);
  });

  it('asks for nothing while it is hidden or paused', async () => {
    const [server, model] = start();
    server.answer([line(1)]);
    await settle();
    const before = server.places.length;
    model.isVisible = false;
    await vi.advanceTimersByTimeAsync(60_000);
    model.isPaused = true;
    model.isVisible = true;
    await vi.advanceTimersByTimeAsync(60_000);
    expect(server.places.length).toBe(before);
    model.isPaused = false;
    expect(server.places.at(-1)?.after).toBe(1);
  });

  it('says that it is not up to date, and tries again', async () => {
    const [server, model] = start();
    server.fail();
    await settle();
    expect(model.error).toBe('The Jupyter server does not respond.');
    await vi.advanceTimersByTimeAsync(500);
    server.answer([line(1)]);
    await settle();
    expect(model.error).toBe('');
    expect(model.total).toBe(1);
  });

  it('ends with the log', async () => {
    const [server, model] = start();
    server.answer([line(1)], true);
    await settle();
    expect(model.isEnded).toBe(true);
    expect(server.places.length).toBe(1);
  });

  it('filters by text, output and input', async () => {
    const [server, model] = start();
    server.answer([
      line(1, { message: 'Loss 3' }),
      line(2, { source: 'stderr' }),
      line(3, { index: 7 })
    ]);
    await settle();
    model.search = 'loss';
    expect(model.lines.map(each => each.id)).toEqual([1]);
    model.search = '';
    model.source = 'stderr';
    expect(model.lines.map(each => each.id)).toEqual([2]);
    model.source = 'all';
    model.index = 7;
    expect(model.lines.map(each => each.id)).toEqual([3]);
    expect(model.total).toBe(3);
  });
});
