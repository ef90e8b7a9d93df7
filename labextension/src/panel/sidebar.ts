/** The panel in the left sidebar: the header, and the sections Functions and Running calls. */
import type { TranslationBundle } from '@jupyterlab/translation';
import { SidePanel } from '@jupyterlab/ui-components';
import type { ITranslator } from '@jupyterlab/translation';
import type { IDisposable } from '@lumino/disposable';
import type { Message } from '@lumino/messaging';

import { CallsSection } from './calls';
import { FunctionsSection } from './functions';
import { HeaderSection } from './header';
import { nbfnIcon } from '../lab/icons';
import type { IHubModel } from '../model/tokens';

export class Sidebar extends SidePanel {
  constructor(model: IHubModel, translator: ITranslator) {
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
    this._observation ??= this._model.observe();
  }

  protected override onAfterHide(msg: Message): void {
    super.onAfterHide(msg);
    this._stopObserving();
  }

  override dispose(): void {
    if (this.isDisposed) {
      return;
    }
    this._model.stateChanged.disconnect(this._showSections, this);
    this._stopObserving();
    super.dispose();
  }

  /** Hide the sections until there is an overview. */
  private _showSections(): void {
    this.content.setHidden(this._model.overview === null);
  }

  private _stopObserving(): void {
    this._observation?.dispose();
    this._observation = null;
  }

  private readonly _model: IHubModel;
  private _observation: IDisposable | null = null;
}
