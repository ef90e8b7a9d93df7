/** Draws parts of the panel in a test, again whenever the model changes. */
import { Dialog } from '@jupyterlab/apputils';
import { nullTranslator } from '@jupyterlab/translation';
import { act, cleanup, render } from '@testing-library/react';
import { CommandRegistry } from '@lumino/commands';
import React from 'react';
import { vi } from 'vitest';

import { PanelContext } from '../context';
import { addPanelCommands } from '../panelCommands';
import { PanelModel } from '../panelModel';
import { FakeApi, FakeHub, FakeNotebooks } from './fake';

export const trans = nullTranslator.load('nbfn');

/** jsdom has no layout; this is the height of a section, and of each row. */
const HEIGHT = 600;
const ROW_HEIGHT = 60;

export class PanelTest {
  readonly hub = new FakeHub();
  readonly api = new FakeApi(this.hub);
  readonly notebooks = new FakeNotebooks();
  readonly commands = new CommandRegistry();
  readonly model: PanelModel;
  readonly revealed: string[] = [];

  constructor() {
    vi.useFakeTimers();
    this.model = new PanelModel(this.hub, this.api);
    addPanelCommands({
      commands: this.commands,
      model: this.model,
      trans,
      reveal: id => {
        this.revealed.push(id);
        this.model.reveal(id);
      }
    });
    for (const [name, height] of [
      ['offsetHeight', HEIGHT],
      ['offsetWidth', 300]
    ] as const) {
      vi.spyOn(HTMLElement.prototype, name, 'get').mockImplementation(function (
        this: HTMLElement
      ) {
        return this.getAttribute('role') === 'treeitem' &&
          name === 'offsetHeight'
          ? ROW_HEIGHT
          : height;
      });
    }
    Element.prototype.scrollTo = vi.fn() as never;
  }

  /** Draw a part of the panel. */
  async show(view: React.JSX.Element): Promise<void> {
    this.hub.tell();
    render(<Drawn test={this} view={view} />);
    await this.settle();
  }

  /** Pass on the rows of the fake hub, and wait for responses. */
  async tell(): Promise<void> {
    act(() => this.hub.tell());
    await this.settle();
  }

  async settle(milliseconds = 0): Promise<void> {
    await act(() => vi.advanceTimersByTimeAsync(milliseconds));
  }

  dispose(): void {
    Dialog.flush();
    cleanup();
    this.model.dispose();
    vi.restoreAllMocks();
    vi.useRealTimers();
  }
}

function Drawn(props: {
  test: PanelTest;
  view: React.JSX.Element;
}): React.JSX.Element {
  const { model, commands, notebooks } = props.test;
  const [count, redraw] = React.useReducer((n: number) => n + 1, 0);
  React.useEffect(() => {
    const slot = (): void => redraw();
    model.stateChanged.connect(slot);
    return () => {
      model.stateChanged.disconnect(slot);
    };
  }, [model]);
  const context = { model, commands, notebooks, trans };
  return (
    <PanelContext.Provider value={context}>
      {React.cloneElement(props.view, { 'data-count': count } as object)}
    </PanelContext.Provider>
  );
}
