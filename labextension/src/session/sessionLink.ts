/** Follows the session of one notebook on the remote kernel, over a comm to the notebook's kernel. */
import type { ISessionContext } from '@jupyterlab/apputils';
import type { Kernel } from '@jupyterlab/services';
import { Signal, type ISignal } from '@lumino/signaling';

/** The target of the comm, as in kernel/nbfn_kernel/session/session_status.py. */
const TARGET = 'nbfn.session';
/** The kernel whose cells run in a session. */
const KERNEL_NAME = 'nbfn-remote';

/** The state of a session, as session_status.py sends it. */
export interface ISessionStatus {
  state: 'none' | 'starting' | 'running';
  worker: string;
  host: string;
  pid: number;
  /** In seconds since 1970. */
  started: number;
  /** Why the last session ended, or did not start; empty if the user ended it. */
  reason: string;
}

const NO_SESSION: ISessionStatus = {
  state: 'none',
  worker: '',
  host: '',
  pid: 0,
  started: 0,
  reason: ''
};

export class SessionLink {
  constructor(private readonly _context: ISessionContext) {
    _context.kernelChanged.connect(this._connect, this);
    _context.statusChanged.connect(this._onStatus, this);
    _context.connectionStatusChanged.connect(this._connect, this);
    this._connect();
  }

  /** The state of the session; null if the notebook has another kernel. */
  get status(): ISessionStatus | null {
    return this._isRemote ? this._status : null;
  }

  get changed(): ISignal<this, void> {
    return this._changed;
  }

  /** End the session; the next cell starts a new one. */
  end(): void {
    this._comm?.send({ type: 'end' });
  }

  /** End the session and start a new one. */
  restart(): void {
    this._comm?.send({ type: 'restart' });
  }

  dispose(): void {
    Signal.clearData(this);
  }

  private get _kernel(): Kernel.IKernelConnection | null {
    return this._context.session?.kernel ?? null;
  }

  private get _isRemote(): boolean {
    return this._kernel?.name === KERNEL_NAME;
  }

  private _onStatus(_: ISessionContext, status: Kernel.Status): void {
    const gone = ['restarting', 'autorestarting', 'dead', 'terminating'];
    if (gone.includes(status)) {
      this._comm = null;
      this._update(NO_SESSION);
    } else if (status === 'idle' || status === 'busy') {
      this._connect();
    }
  }

  /** Open a comm to a kernel that has none yet. */
  private _connect(): void {
    const kernel = this._kernel;
    if (kernel !== this._connected) {
      this._connected = kernel;
      this._comm = null;
      this._update(NO_SESSION);
    }
    const isReady = kernel?.connectionStatus === 'connected';
    if (!this._isRemote || !kernel?.handleComms || !isReady || this._comm) {
      return;
    }
    const comm = kernel.createComm(TARGET);
    comm.onMsg = message => {
      if (comm === this._comm) {
        this._update(message.content.data as unknown as ISessionStatus);
      }
    };
    comm.onClose = () => {
      if (comm === this._comm) {
        this._comm = null;
      }
    };
    this._comm = comm;
    comm.open({});
  }

  private _update(status: ISessionStatus): void {
    this._status = status;
    this._changed.emit();
  }

  private readonly _changed = new Signal<this, void>(this);
  private _connected: Kernel.IKernelConnection | null = null;
  private _comm: Kernel.IComm | null = null;
  private _status = NO_SESSION;
}
