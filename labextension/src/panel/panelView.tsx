/** A widget that draws a part of the panel, and draws nothing while it is hidden. */
import { VDomRenderer } from '@jupyterlab/ui-components';
import type { Message } from '@lumino/messaging';
import React from 'react';

import { PanelContext, type IPanelContext } from './context';
import type { PanelModel } from './panelModel';

export class PanelView extends VDomRenderer<PanelModel> {
  constructor(
    private readonly _context: IPanelContext,
    private readonly _view: (isShown: boolean) => React.JSX.Element
  ) {
    super(_context.model);
    _context.notebooks?.changed.connect(this._onNotebooks, this);
  }

  override dispose(): void {
    this._context.notebooks?.changed.disconnect(this._onNotebooks, this);
    super.dispose();
  }

  protected override onUpdateRequest(msg: Message): void {
    if (this.isVisible || !this._isDrawn) {
      this._isDrawn = true;
      super.onUpdateRequest(msg);
    }
  }

  protected override onAfterShow(msg: Message): void {
    super.onAfterShow(msg);
    this.update();
  }

  protected override render(): React.JSX.Element {
    return (
      <PanelContext.Provider value={this._context}>
        {this._view(this.isVisible)}
      </PanelContext.Provider>
    );
  }

  private _onNotebooks(): void {
    this.update();
  }

  private _isDrawn = false;
}
