/** The panel in the left sidebar: the header, and the sections Functions and Running calls. */
import type { TranslationBundle } from '@jupyterlab/translation';
import { SidePanel } from '@jupyterlab/ui-components';
import type { ITranslator } from '@jupyterlab/translation';
import type { Message } from '@lumino/messaging';

import { CallsSection } from './calls';
import { FunctionsSection } from './functions';
import { HeaderSection } from './header';
import { nbfnIcon } from './icons';
import type { Model } from './model';

export class Sidebar extends SidePanel {
  constructor(model: Model, translator: ITranslator) {
    super({ translator });
    const trans: TranslationBundle = translator.load('nbfn');
    this._model = model;
    this.id = 'nbfn-sidebar';
    this.title.icon = nbfnIcon;
    this.title.caption = trans.__('nbfn: Functions and calls');
    this.addClass('jp-nbfn-sidebar');
    this.node.setAttribute('role', 'region');
    this.node.setAttribute('aria-label', trans.__('nbfn'));
    this.header.addWidget(new HeaderSection(model, trans));
    this.addWidget(new FunctionsSection(model, trans));
    this.addWidget(new CallsSection(model, trans));
    model.stateChanged.connect(this._showSections, this);
    this._showSections();
  }

  protected override onAfterShow(msg: Message): void {
    super.onAfterShow(msg);
    void this._model.refresh();
  }

  override dispose(): void {
    if (this.isDisposed) {
      return;
    }
    this._model.stateChanged.disconnect(this._showSections, this);
    super.dispose();
  }

  /** Hide the sections until there is an overview. */
  private _showSections(): void {
    this.content.setHidden(this._model.overview === null);
  }

  private readonly _model: Model;
}
