/**
 * Renders a display of a call: by the widget of its kernel while that lives, else from the hub, else as it was saved.
 */
import { MimeModel, type IRenderMimeRegistry } from '@jupyterlab/rendermime';
import type { IRenderMime } from '@jupyterlab/rendermime-interfaces';
import type { TranslationBundle } from '@jupyterlab/translation';
import { Panel, type Widget } from '@lumino/widgets';

import {
  CALL_MIME,
  HTML_MIME,
  shownCall,
  WIDGET_MIME,
  type IShownCall
} from './bundle';
import type { ICallRequests } from './callRequests';
import { CallView } from './callView';
import { HubCall, isOver, type ICallRows } from './hubCall';

/** What the renderers of one notebook share. */
export interface IDisplays {
  readonly rendermime: IRenderMimeRegistry;
  readonly rows: ICallRows;
  readonly requests: ICallRequests;
  readonly trans: TranslationBundle;
  /** Whether the kernel that made this widget lives. */
  isAlive(widgetId: string): boolean;
  add(renderer: CallRenderer): void;
  remove(renderer: CallRenderer): void;
}

export class CallRenderer extends Panel implements IRenderMime.IRenderer {
  constructor(private readonly _displays: IDisplays) {
    super();
    this.addClass('jp-nbfn-display');
    _displays.add(this);
  }

  /** The call that is shown; null before the first rendering. */
  get shown(): IShownCall | null {
    return this._shown;
  }

  override dispose(): void {
    if (!this.isDisposed) {
      this._displays.remove(this);
      this._hubCall?.dispose();
      super.dispose();
    }
  }

  /** Show a bundle. Also called when the kernel has updated the output. */
  async renderModel(model: IRenderMime.IMimeModel): Promise<void> {
    const before = this._shown;
    this._model = model;
    this._shown = shownCall(model.data);
    if (before?.ended === false && this._shown?.ended) {
      this._leaveHub(); // the kernel knows the result
    }
    await this._update();
  }

  /** Show what is possible now: called when the kernel was lost. */
  async kernelChanged(): Promise<void> {
    if (this._model !== null) {
      await this._update();
    }
  }

  private async _update(): Promise<void> {
    const widgetId = this._widgetId();
    if (widgetId && this._displays.isAlive(widgetId)) {
      this._leaveHub();
      await this._render(WIDGET_MIME, widgetId);
      return;
    }
    const data = this._model?.data ?? {};
    await this._render(HTML_MIME, JSON.stringify(data[HTML_MIME] ?? ''));
    this._askHub();
  }

  /** The id of the widget of the bundle; only trusted notebooks have live widgets. */
  private _widgetId(): string {
    const view = this._model?.data[WIDGET_MIME] as
      { model_id?: unknown } | undefined;
    const id = view?.model_id;
    return this._model?.trusted && typeof id === 'string' ? id : '';
  }

  /** Show a part of the bundle with its own renderer; do nothing if it is shown already. */
  private async _render(mimeType: string, key: string): Promise<void> {
    const model = this._model;
    if (model === null || this._renderedKey === `${mimeType} ${key}`) {
      return;
    }
    this._renderedKey = `${mimeType} ${key}`;
    const { rendermime } = this._displays;
    const type = mimeType in model.data ? mimeType : 'text/plain';
    const renderer = rendermime.createRenderer(type);
    this._setPart(renderer);
    const { trusted, metadata } = model;
    const data = { [type]: model.data[type] ?? '' };
    try {
      await renderer.renderModel(new MimeModel({ data, metadata, trusted }));
    } catch (reason) {
      // A widget that was replaced while it loaded has no layout for its view.
      if (!renderer.isDisposed) {
        throw reason;
      }
    }
  }

  /** Replace what is shown of the bundle. */
  private _setPart(part: Widget): void {
    this._part?.dispose();
    this._part = part;
    this.insertWidget(0, part);
    part.setHidden(this._view !== null);
  }

  private _askHub(): void {
    const shown = this._shown;
    if (shown === null || this._hubCall?.id === shown.call) {
      return;
    }
    this._leaveHub();
    const { rows, requests } = this._displays;
    this._hubCall = new HubCall(shown.call, rows, requests);
    this._hubCall.changed.connect(this._onHubChanged, this);
    void this._hubCall.refresh();
  }

  private _leaveHub(): void {
    this._hubCall?.dispose();
    this._hubCall = null;
    this._view?.dispose();
    this._view = null;
  }

  /** Show the hub's view once the hub knows more than the bundle. */
  private _onHubChanged(call: HubCall): void {
    const ended = this._shown?.ended === true;
    // The row that was pushed last may be older than the end that the kernel has reported; the details are not.
    const row = ended ? (call.details?.call ?? null) : call.row;
    if (row === null || this._view !== null || this._part === null) {
      return;
    }
    if (!ended || !isOver(row.state) || call.retriable > 0) {
      this._view = new CallView({ call, trans: this._displays.trans });
      this._part.hide();
      this.addWidget(this._view);
      void call.follow();
    }
  }

  private _model: IRenderMime.IMimeModel | null = null;
  private _shown: IShownCall | null = null;
  private _renderedKey = '';
  private _part: Widget | null = null;
  private _hubCall: HubCall | null = null;
  private _view: CallView | null = null;
}

/** The factory of the renderers of a notebook. */
export function callRendererFactory(
  displays: IDisplays
): IRenderMime.IRendererFactory {
  return {
    safe: true,
    mimeTypes: [CALL_MIME],
    createRenderer: () => new CallRenderer(displays)
  };
}
