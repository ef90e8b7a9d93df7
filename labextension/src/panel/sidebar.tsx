/** The panel in the left sidebar: a header, and the sections Functions, Calls, Workers and Health. */
import type { ITranslator, TranslationBundle } from '@jupyterlab/translation';
import { SidePanel } from '@jupyterlab/ui-components';
import type { IDisposable } from '@lumino/disposable';
import { MessageLoop, type Message } from '@lumino/messaging';
import { Widget, type AccordionPanel } from '@lumino/widgets';
import React from 'react';

import { nbfnIcon } from '../lab/icons';
import { CallsSection } from './callsSection';
import type { IPanelContext } from './context';
import { FunctionsSection } from './functionsSection';
import { Header } from './header';
import { HealthSection } from './healthSection';
import type { PanelModel } from './panelModel';
import { PanelView } from './panelView';
import { WorkersSection } from './workersSection';

/** The share of the height of each section while Health is closed, and when it is opened for the first time. */
const SIZES = [0.38, 0.38, 0.24, 0];
const SIZES_WITH_HEALTH = [0.27, 0.27, 0.18, 0.28];
/** The index of the section that has the row of an id, by the beginning of the id. */
const SECTIONS: Readonly<Record<string, number | undefined>> = {
  fu: 0,
  fc: 1,
  wk: 2
};
const HEALTH = 3;

export class Sidebar extends SidePanel {
  /**
   * @param observe - Called while the panel is visible; the result ends the observation.
   */
  constructor(
    context: IPanelContext,
    translator: ITranslator,
    observe: () => IDisposable
  ) {
    super({ translator });
    const { model, trans } = context;
    this._model = model;
    this._observe = observe;
    this.id = 'nbfn-sidebar';
    this.title.icon = nbfnIcon;
    this.title.caption = trans.__('nbfn: Functions, calls and workers');
    this.addClass('jp-nbfn-sidebar');
    this.node.setAttribute('role', 'region');
    this.node.setAttribute('aria-label', trans.__('nbfn'));
    this._addSections(context, trans);
    this._headerSize.observe(this.header.node);
    model.stateChanged.connect(this._showSections, this);
    this._showSections();
  }

  /** Open the section that has the row of an id, and move the focus to the row. */
  reveal(id: string): void {
    const index = SECTIONS[id.slice(0, 2)];
    if (index !== undefined) {
      (this.content as AccordionPanel).expand(index);
    }
    this._model.reveal(id);
  }

  protected override onAfterShow(msg: Message): void {
    super.onAfterShow(msg);
    this._setSizes();
    this._observation ??= this._observe();
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
    this._headerSize.disconnect();
    super.dispose();
  }

  private _addSections(context: IPanelContext, trans: TranslationBundle): void {
    const header = new PanelView(context, () => <Header />);
    header.addClass('jp-nbfn-header');
    this.header.addWidget(header);
    const views: [string, (isShown: boolean) => React.JSX.Element][] = [
      [trans.__('Functions'), () => <FunctionsSection />],
      [trans.__('Calls'), () => <CallsSection />],
      [trans.__('Workers'), () => <WorkersSection />],
      [trans.__('Health'), isShown => <HealthSection isShown={isShown} />]
    ];
    for (const [label, view] of views) {
      const section = new PanelView(context, view);
      section.addClass('jp-nbfn-section');
      section.title.label = label;
      this.addWidget(section);
    }
    const accordion = this.content as AccordionPanel;
    accordion.collapse(HEALTH);
    accordion.expansionToggled.connect(this._onToggled, this);
  }

  /** Hide the sections until there is an overview. */
  private _showSections(): void {
    this.content.setHidden(this._model.hub.overview === null);
    this._setSizes();
  }

  /** Set the heights of the sections when they are shown for the first time; before that they have none. */
  private _setSizes(): void {
    if (!this._hasSizes && this.content.isVisible) {
      this._hasSizes = true;
      requestAnimationFrame(() => {
        (this.content as AccordionPanel).setRelativeSizes(SIZES);
      });
    }
  }

  private _onToggled(accordion: AccordionPanel, index: number): void {
    if (index === HEALTH && !this._wasHealthShown) {
      this._wasHealthShown = true;
      accordion.setRelativeSizes(SIZES_WITH_HEALTH);
    }
  }

  private _stopObserving(): void {
    this._observation?.dispose();
    this._observation = null;
  }

  /** The header grows when it wraps, and when it has something to say. */
  private readonly _headerSize = new ResizeObserver(() => {
    MessageLoop.postMessage(this.content, Widget.ResizeMessage.UnknownSize);
  });
  private readonly _model: PanelModel;
  private readonly _observe: () => IDisposable;
  private _observation: IDisposable | null = null;
  private _hasSizes = false;
  private _wasHealthShown = false;
}
