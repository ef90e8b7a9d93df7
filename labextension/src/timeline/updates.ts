/** Keeps a timeline fresh while it is visible: at changes of the hub, and while something runs. */
import type { IDisposable } from '@lumino/disposable';
import type { Widget } from '@lumino/widgets';

import type { IHubModel } from '../model/tokens';
import type { TimelineModel } from './timelineModel';

/** Milliseconds: between two requests, between two frames of running inputs, and until a change must have arrived. */
const LEAST = 500;
const FRAME = 250;
const MOST = 2000;

export class Updates {
  constructor(view: Widget, hub: IHubModel, model: TimelineModel) {
    this._view = view;
    this._hub = hub;
    this._model = model;
    hub.stateChanged.connect(this._note);
    this._timer = window.setInterval(() => this._step(), FRAME);
  }

  dispose(): void {
    clearInterval(this._timer);
    this._observation?.dispose();
    this._hub.stateChanged.disconnect(this._note);
  }

  private readonly _note = (): void => {
    this._due = true;
  };

  private _step(): void {
    if (document.hidden || !this._view.isVisible) {
      this._observation?.dispose();
      this._observation = null;
      return;
    }
    this._observation ??= this._hub.observe();
    this._model.tick();
    const since = performance.now() - this._loadedAt;
    const wanted = this._due || this._model.problem !== '';
    const expected = this._model.isLive || this._model.problem !== '';
    if ((wanted && since >= LEAST) || (expected && since >= MOST)) {
      this._due = false;
      this._loadedAt = performance.now();
      void this._model.refresh();
    }
  }

  private readonly _view: Widget;
  private readonly _hub: IHubModel;
  private readonly _model: TimelineModel;
  private readonly _timer: number;
  private _observation: IDisposable | null = null;
  private _due = true;
  private _loadedAt = 0;
}
