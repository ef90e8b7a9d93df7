import type { ISessionContext } from '@jupyterlab/apputils';
import { nullTranslator } from '@jupyterlab/translation';
import { Signal } from '@lumino/signaling';
import { describe, expect, it } from 'vitest';

import { caption, label } from '../sessionButton';
import { SessionLink, type ISessionStatus } from '../sessionLink';

const trans = nullTranslator.load('nbfn');
const RUNNING: ISessionStatus = {
  state: 'running',
  worker: 'wk-1234567890',
  host: 'ada<b>',
  pid: 7,
  started: 1,
  reason: ''
};
const ENDED: ISessionStatus = {
  ...RUNNING,
  state: 'none',
  reason: 'killed by SIGKILL (9)'
};

/** A kernel that records its comms. */
class FakeKernel {
  constructor(readonly name: string) {}

  readonly handleComms = true;
  connectionStatus = 'connected';
  readonly comms: FakeComm[] = [];

  createComm(target: string): FakeComm {
    const comm = new FakeComm(target);
    this.comms.push(comm);
    return comm;
  }
}

class FakeComm {
  constructor(readonly target: string) {}

  onMsg: (message: unknown) => void = () => undefined;
  onClose: () => void = () => undefined;
  readonly sent: unknown[] = [];

  open(): void {
    this.sent.push('open');
  }

  send(data: unknown): void {
    this.sent.push(data);
  }

  receive(status: ISessionStatus): void {
    this.onMsg({ content: { data: status } });
  }
}

class FakeContext {
  constructor(kernel: FakeKernel) {
    this.session = { kernel };
  }

  session: { kernel: FakeKernel };
  readonly kernelChanged = new Signal<this, unknown>(this);
  readonly statusChanged = new Signal<this, string>(this);
  readonly connectionStatusChanged = new Signal<this, string>(this);
}

function linked(kernel: FakeKernel): {
  context: FakeContext;
  link: SessionLink;
} {
  const context = new FakeContext(kernel);
  const link = new SessionLink(context as unknown as ISessionContext);
  return { context, link };
}

describe('the link to a session', () => {
  it('follows the kernel over one comm', () => {
    const kernel = new FakeKernel('nbfn-remote');
    const { context, link } = linked(kernel);
    expect(link.status?.state).toBe('none');
    context.statusChanged.emit('idle');
    context.connectionStatusChanged.emit('connected');
    expect(kernel.comms.map(comm => comm.target)).toEqual(['nbfn.session']);
    kernel.comms[0].receive(RUNNING);
    expect(link.status).toEqual(RUNNING);
    link.end();
    link.restart();
    expect(kernel.comms[0].sent).toEqual([
      'open',
      { type: 'end' },
      { type: 'restart' }
    ]);
  });

  it('opens a new comm to a restarted kernel, and ignores the old one', () => {
    const kernel = new FakeKernel('nbfn-remote');
    const { context, link } = linked(kernel);
    kernel.comms[0].receive(RUNNING);
    context.statusChanged.emit('restarting');
    expect(link.status?.state).toBe('none');
    context.statusChanged.emit('idle');
    expect(kernel.comms).toHaveLength(2);
    kernel.comms[0].receive(RUNNING);
    expect(link.status?.state).toBe('none');
  });

  it('has no status for another kernel', () => {
    const { context, link } = linked(new FakeKernel('python3'));
    expect(link.status).toBeNull();
    const remote = new FakeKernel('nbfn-remote');
    context.session = { kernel: remote };
    context.kernelChanged.emit(null);
    remote.comms[0].receive(RUNNING);
    expect(link.status).toEqual(RUNNING);
  });
});

describe('the item of the toolbar', () => {
  it('names worker and host', () => {
    expect(label(RUNNING, trans)).toBe('● session wk-123456 on ada<b>');
    expect(label({ ...RUNNING, state: 'starting' }, trans)).toBe(
      '◌ session is starting'
    );
    expect(label(ENDED, trans)).toBe('○ no session');
  });

  it('says why the last session ended', () => {
    expect(caption(ENDED, trans)).toContain('killed by SIGKILL (9)');
    expect(caption({ ...ENDED, reason: '' }, trans)).toBe(
      'The next cell starts a session on a worker.'
    );
  });
});
