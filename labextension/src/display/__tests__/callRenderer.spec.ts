/** The renderer of the displays of calls, while the outputs that it contains are replaced. */
import { MimeModel, type IRenderMimeRegistry } from '@jupyterlab/rendermime';
import { nullTranslator } from '@jupyterlab/translation';
import { Panel } from '@lumino/widgets';
import { describe, expect, it } from 'vitest';

import { CALL_MIME, HTML_MIME, WIDGET_MIME } from '../bundle';
import { CallRenderer, type IDisplays } from '../callRenderer';
import { ID, ROW } from './row';

/** Loads its widget until told that it is there, as ipywidgets does. */
class SlowPart extends Panel {
  finish: () => void = () => undefined;
  fail: (reason: Error) => void = () => undefined;

  async renderModel(): Promise<void> {
    await new Promise<void>((resolve, reject) => {
      this.finish = resolve;
      this.fail = reject;
    });
    this.addWidget(new Panel()); // throws if this was disposed
  }
}

function bundle(ended: boolean): MimeModel {
  const widget = ended ? {} : { [WIDGET_MIME]: { model_id: 'w' } };
  const data = { ...widget, [HTML_MIME]: ended ? 'over' : 'runs' };
  const call = { call: ID, kind: 'map', ended, at: 1, display: 'd' };
  return new MimeModel({
    data: { ...data, [CALL_MIME]: call },
    trusted: true
  });
}

const RUNNING = { ...ROW, durable: false };

/** What the hub has pushed last, and what it answers. */
interface IHub {
  row: object | null;
  details: Promise<unknown>;
}

const SILENT: IHub = { row: null, details: new Promise(() => undefined) };

function rendererOf(parts: SlowPart[], hub = SILENT): CallRenderer {
  const createRenderer = (): SlowPart => {
    parts.push(new SlowPart());
    return parts[parts.length - 1];
  };
  const displays = {
    rendermime: { createRenderer } as unknown as IRenderMimeRegistry,
    rows: {
      changed: { connect: () => true, disconnect: () => true },
      row: () => hub.row,
      isConnected: true,
      now: () => 1075,
      observe: () => ({ dispose: () => undefined })
    },
    requests: { details: () => hub.details, logs: () => SILENT.details },
    trans: nullTranslator.load('nbfn'),
    isAlive: () => true,
    add: () => undefined,
    remove: () => undefined
  };
  return new CallRenderer(displays as unknown as IDisplays);
}

describe('a renderer of a call', () => {
  it('ignores that a widget that was replaced while it loaded has no layout', async () => {
    const parts: SlowPart[] = [];
    const renderer = rendererOf(parts);
    const first = renderer.renderModel(bundle(false));
    const second = renderer.renderModel(bundle(true));
    expect(parts.map(part => part.isDisposed)).toEqual([true, false]);
    parts[0].finish();
    parts[1].finish();
    await expect(first).resolves.toBeUndefined();
    await expect(second).resolves.toBeUndefined();
    expect([...renderer.widgets]).toEqual([parts[1]]);
    expect(parts[1].widgets).toHaveLength(1);
  });

  it('reports the error of the part that it shows', async () => {
    const parts: SlowPart[] = [];
    const rendered = rendererOf(parts).renderModel(bundle(false));
    parts[0].fail(new Error('no such model'));
    await expect(rendered).rejects.toThrow('no such model');
  });

  it.each([
    ['succeeded', 1],
    ['running', 2]
  ])(
    'shows a call that has ended by its bundle, unless it is %s at the hub',
    async (state, widgets) => {
      const parts: SlowPart[] = [];
      const call = { ...RUNNING, state };
      // The row that was pushed last is older than the end.
      const hub = {
        row: RUNNING,
        details: Promise.resolve({ call, retriable: 0, errors: [] })
      };
      const renderer = rendererOf(parts, hub);
      const rendered = renderer.renderModel(bundle(true));
      parts[0].finish();
      await rendered;
      await hub.details;
      await Promise.resolve();
      expect(renderer.widgets).toHaveLength(widgets);
      expect(parts[0].isHidden).toBe(widgets > 1);
      renderer.dispose();
    }
  );
});
