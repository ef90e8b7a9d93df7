/**
 * Connects the displays of one notebook with its kernel: a page that was reloaded gets them again, as long as the
 * kernel lives.
 */
import type { ISessionContext } from '@jupyterlab/apputils';
import { isCodeCellModel, type ICodeCellModel } from '@jupyterlab/cells';
import type { NotebookPanel } from '@jupyterlab/notebook';
import type { Kernel, KernelMessage } from '@jupyterlab/services';
import type { JSONObject, PartialJSONObject } from '@lumino/coreutils';

import { CALL_MIME, shownCall, WIDGET_MIME } from './bundle';
import type { CallRenderer, IDisplays } from './callRenderer';

/** The target of the comm, as in nbfn/jupyter/views/display_registry.py. */
const TARGET = 'nbfn.displays';

/** A display in a message of the kernel. */
interface IDisplayMessage {
  display: string;
  cell: string;
  /** When it was created, in seconds since 1970. */
  first: number;
  data: PartialJSONObject;
  /** The same for a cell without its result, which its page has missed; null if there is none. */
  data_with_result: PartialJSONObject | null;
  metadata: PartialJSONObject;
  /** Whether it answers the page, which did not name it. Other messages are about any display, also removed ones. */
  missing?: boolean;
}

type Shared = Omit<IDisplays, 'isAlive' | 'add' | 'remove'>;

export class KernelLink implements IDisplays {
  constructor(
    private readonly _panel: NotebookPanel,
    shared: Shared
  ) {
    this.rendermime = shared.rendermime;
    this.rows = shared.rows;
    this.requests = shared.requests;
    this.trans = shared.trans;
    const { sessionContext } = _panel;
    sessionContext.kernelChanged.connect(this._onKernelChanged, this);
    sessionContext.statusChanged.connect(this._onStatus, this);
    _panel.disposed.connect(() => {
      sessionContext.kernelChanged.disconnect(this._onKernelChanged, this);
      sessionContext.statusChanged.disconnect(this._onStatus, this);
    });
    void this._ask();
  }

  readonly rendermime: Shared['rendermime'];
  readonly rows: Shared['rows'];
  readonly requests: Shared['requests'];
  readonly trans: Shared['trans'];

  /** Whether the kernel that made this widget lives: widgets that appear after a restart are of the new one. */
  isAlive(widgetId: string): boolean {
    const alive = !this._dead.has(widgetId);
    if (alive) {
      this._seen.add(widgetId);
      this._open(); // a later page finds by this comm that the kernel has displays
    }
    return alive;
  }

  add(renderer: CallRenderer): void {
    this._renderers.add(renderer);
  }

  remove(renderer: CallRenderer): void {
    this._renderers.delete(renderer);
  }

  private get _kernel(): Kernel.IKernelConnection | null {
    return this._panel.sessionContext.session?.kernel ?? null;
  }

  private _onKernelChanged(): void {
    this._loseKernel();
  }

  private _onStatus(_: ISessionContext, status: Kernel.Status): void {
    const gone = ['restarting', 'autorestarting', 'dead', 'terminating'];
    if (gone.includes(status)) {
      this._loseKernel();
    }
  }

  private _loseKernel(): void {
    this._comm = null;
    if (this._seen.size) {
      this._seen.forEach(id => this._dead.add(id));
      this._seen.clear();
      this._renderers.forEach(renderer => void renderer.kernelChanged());
    }
  }

  /** Ask a kernel that ran before this page was opened for its displays. */
  private async _ask(): Promise<void> {
    const { context, sessionContext } = this._panel;
    await Promise.all([context.ready, sessionContext.ready]);
    const kernel = this._kernel;
    if (kernel === null) {
      return;
    }
    // Without such a comm, nbfn was not used in this kernel, and would not know the target.
    const { content } = await kernel.requestCommInfo({ target_name: TARGET });
    const known = content.status === 'ok' ? Object.keys(content.comms) : [];
    const isCurrent = !this._panel.isDisposed && kernel === this._kernel;
    if (known.length && isCurrent) {
      const saved = Date.parse(context.contentsModel?.last_modified ?? '');
      const displays = [...this._outputs()].map(([, , shown]) => shown);
      this._open();
      this._comm?.send({ displays, since: (saved || Date.now()) / 1000 });
    }
  }

  private _open(): void {
    const kernel = this._kernel;
    if (this._comm === null && kernel?.handleComms) {
      this._comm = kernel.createComm(TARGET);
      this._comm.onMsg = message => this._onMessage(message);
      this._comm.open({});
    }
  }

  private _onMessage(message: KernelMessage.ICommMsgMsg): void {
    const said = message.content.data as unknown as IDisplayMessage;
    for (const [cell, index, display] of this._outputs()) {
      if (display === said.display) {
        this._setOutput(cell, index, {
          data: dataFor(cell, said),
          metadata: said.metadata
        });
        return;
      }
    }
    if (said.missing) {
      this._addOutput(said);
    }
  }

  /** Replace an output, unless this page has it already. */
  private _setOutput(
    cell: ICodeCellModel,
    index: number,
    bundle: Pick<IDisplayMessage, 'data' | 'metadata'>
  ): void {
    const output = cell.outputs.get(index).toJSON();
    const now = output.data as JSONObject;
    const ended = (data: PartialJSONObject): boolean =>
      shownCall(data)?.ended === true && !(WIDGET_MIME in data);
    if (!(WIDGET_MIME in now) || ended(bundle.data)) {
      cell.outputs.set(index, { ...output, ...bundle });
    }
  }

  /** Add a display that was created after the notebook was saved; the outputs of an earlier run are gone. */
  private _addOutput(said: IDisplayMessage): void {
    const saved = Date.parse(
      this._panel.context.contentsModel?.last_modified ?? ''
    );
    for (const cell of this._cells()) {
      if (cell.id === said.cell && said.first * 1000 > saved) {
        if (!this._added.has(cell.id)) {
          this._added.add(cell.id);
          cell.outputs.clear();
        }
        cell.outputs.add({
          output_type: 'display_data',
          data: dataFor(cell, said),
          metadata: said.metadata
        });
      }
    }
  }

  private *_cells(): Generator<ICodeCellModel> {
    for (const cell of this._panel.content.model?.cells ?? []) {
      if (isCodeCellModel(cell)) {
        yield cell;
      }
    }
  }

  /** The outputs that show calls: their cell, index and display. */
  private *_outputs(): Generator<[ICodeCellModel, number, string]> {
    for (const cell of this._cells()) {
      for (let index = 0; index < cell.outputs.length; index++) {
        const { data } = cell.outputs.get(index);
        const shown = CALL_MIME in data ? shownCall(data) : null;
        if (shown !== null) {
          yield [cell, index, shown.display];
        }
      }
    }
  }

  private readonly _renderers = new Set<CallRenderer>();
  private readonly _seen = new Set<string>();
  private readonly _dead = new Set<string>();
  private readonly _added = new Set<string>();
  private _comm: Kernel.IComm | null = null;
}

/** The data of a display, with the result of its cell if the cell does not show one. */
function dataFor(
  cell: ICodeCellModel,
  said: IDisplayMessage
): PartialJSONObject {
  const types = cell.outputs.toJSON().map(output => output.output_type);
  const hasResult = types.includes('execute_result') || types.includes('error');
  return hasResult ? said.data : (said.data_with_result ?? said.data);
}
