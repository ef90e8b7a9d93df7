/** The plugin that opens timelines, and runs failed inputs again in a notebook. */
import {
  ILayoutRestorer,
  type JupyterFrontEnd,
  type JupyterFrontEndPlugin
} from '@jupyterlab/application';
import {
  MainAreaWidget,
  Notification,
  WidgetTracker
} from '@jupyterlab/apputils';
import { INotebookTracker } from '@jupyterlab/notebook';
import {
  ITranslator,
  nullTranslator,
  type TranslationBundle
} from '@jupyterlab/translation';
import type { CommandRegistry } from '@lumino/commands';
import type { ReadonlyPartialJSONObject } from '@lumino/coreutils';

import { SplitPanel, type Widget } from '@lumino/widgets';

import { nbfnIcon } from '../lab/icons';
import { IHubModel } from '../model/tokens';
import { LabCommands, PanelCommands } from '../panel/commandIds';
import type { IActions } from './details';
import { Looks } from './painter';
import { cellOf, notebookOf, replay } from './replay';
import { replayCode } from './replayCode';
import { TimelineApi } from './timelineApi';
import { TimelineModel, type IFilter } from './timelineModel';
import type { ISpan } from './types';
import { Updates } from './updates';
import { TimelineView, type IChoice } from './view';

/** Runs an input again; {callId, index, path?}. */
export const REPLAY = 'nbfn:replay-input';
/** Events that displays in cells send; `detail` is {call, index} or {call}. */
export const REPLAY_EVENT = 'nbfn:replay';
export const TIMELINE_EVENT = 'nbfn:timeline';
/** Set on the body: displays show the buttons that need this extension. */
const MARK = 'nbfnLab';

export const timelinePlugin: JupyterFrontEndPlugin<void> = {
  id: 'nbfn:timeline',
  description: 'Shows what workers of nbfn did when.',
  autoStart: true,
  requires: [IHubModel],
  optional: [INotebookTracker, ILayoutRestorer, ITranslator],
  activate: (
    app: JupyterFrontEnd,
    hub: IHubModel,
    notebooks: INotebookTracker | null,
    restorer: ILayoutRestorer | null,
    translator: ITranslator | null
  ) => {
    const trans = (translator ?? nullTranslator).load('nbfn');
    const timelines = new Timelines(app, hub, trans);
    timelines.addCommand();
    if (restorer) {
      void restorer.restore(timelines.tracker, {
        command: LabCommands.openTimeline,
        args: widget => ({ callId: timelines.filterOf(widget).call ?? '' }),
        name: widget => widget.id
      });
    }
    if (notebooks) {
      addReplay(app.commands, notebooks, trans);
    }
    listenToDisplays(app, notebooks, trans);
  }
};

type TimelineWidget = MainAreaWidget<TimelineView>;

/** The open timelines. */
class Timelines {
  constructor(app: JupyterFrontEnd, hub: IHubModel, trans: TranslationBundle) {
    this._app = app;
    this._hub = hub;
    this._trans = trans;
  }

  readonly tracker = new WidgetTracker<TimelineWidget>({
    namespace: 'nbfn-timeline'
  });

  filterOf(widget: TimelineWidget): IFilter {
    return this._models.get(widget)?.filter ?? {};
  }

  addCommand(): void {
    const { _trans: trans } = this;
    this._app.commands.addCommand(LabCommands.openTimeline, {
      label: args => (args.toolbar ? '' : trans.__('Open timeline of workers')),
      caption: trans.__('Show what workers did when, and why a map is slow'),
      icon: nbfnIcon,
      describedBy: {
        args: {
          type: 'object',
          properties: { callId: { type: 'string' } }
        }
      },
      execute: args => this._open(textOf(args, 'callId'))
    });
  }

  private async _open(call: string): Promise<void> {
    const filter: IFilter = call ? { call } : {};
    const open = this.tracker.find(
      widget => this.filterOf(widget).call === filter.call
    );
    const widget = open ?? this._create(filter);
    if (!widget.isAttached) {
      this._app.shell.add(widget, isNotebook7(this._app) ? 'down' : 'main', {
        mode: 'split-bottom'
      });
      await this.tracker.add(widget);
    }
    this._app.shell.activateById(widget.id);
    if (isNotebook7(this._app)) {
      openArea(widget);
    }
  }

  private _create(filter: IFilter): TimelineWidget {
    const { _app: app, _hub: hub, _trans: trans } = this;
    const model = new TimelineModel(
      new TimelineApi(app.serviceManager.serverSettings)
    );
    const view = new TimelineView({
      model,
      looks: new Looks(),
      trans,
      actions: this._actions(),
      choices: () => choicesOf(hub)
    });
    const widget = new MainAreaWidget({ content: view });
    this._count += 1;
    widget.id = filter.call
      ? `nbfn-timeline-${filter.call}`
      : `nbfn-timeline-${this._count}`;
    widget.toolbar.hide(); // the view has its own
    widget.title.icon = nbfnIcon;
    widget.title.closable = true;
    const name = (): void => {
      const shown = model.nameOf(model.filter);
      widget.title.label = shown
        ? trans.__('Timeline: %1', shown)
        : trans.__('Timeline');
    };
    model.changed.connect(name);
    name();
    const updates = new Updates(view, hub, model);
    this._models.set(widget, model);
    widget.disposed.connect(() => {
      updates.dispose();
      model.dispose();
    });
    void model.setFilter(filter);
    return widget;
  }

  private _actions(): IActions {
    const { commands } = this._app;
    const { _hub: hub } = this;
    const through = (
      id: string,
      argsOf: (span: ISpan) => ReadonlyPartialJSONObject
    ): ((span: ISpan) => void) | null =>
      commands.hasCommand(id)
        ? span => void commands.execute(id, argsOf(span))
        : null;
    // Other plugins may add their commands later.
    return {
      get openLogs() {
        return through(LabCommands.openLogs, span => ({
          callId: span.call.id,
          index: span.index
        }));
      },
      get showCall() {
        return through(PanelCommands.showCall, span => ({
          callId: span.call.id
        }));
      },
      get replay() {
        return through(REPLAY, span => ({
          callId: span.call.id,
          index: span.index,
          path:
            hub.overview?.calls.find(each => each.id === span.call.id)
              ?.origin ?? ''
        }));
      },
      memoryOf: worker =>
        hub.overview?.workers.find(each => each.id === worker)?.memory ?? null
    };
  }

  private readonly _app: JupyterFrontEnd;
  private readonly _hub: IHubModel;
  private readonly _trans: TranslationBundle;
  private readonly _models = new Map<TimelineWidget, TimelineModel>();
  private _count = 0;
}

function textOf(args: ReadonlyPartialJSONObject, name: string): string {
  const value = args[name];
  return typeof value === 'string' ? value : '';
}

function isNotebook7(app: JupyterFrontEnd): boolean {
  return app.name === 'Jupyter Notebook';
}

/** Give the area below the notebook a part of the page; Notebook 7 shows only its tabs at first. */
function openArea(widget: Widget): void {
  let above: Widget | null = widget.parent;
  while (above && !(above instanceof SplitPanel)) {
    above = above.parent;
  }
  if (above && widget.node.clientHeight < 100) {
    above.setRelativeSizes([1, 1]);
  }
}

function choicesOf(hub: IHubModel): IChoice[] {
  return (hub.overview?.calls ?? []).slice(0, 50).map(call => ({
    filter: { call: call.id },
    label: `${call.function}.${call.kind} · ${call.id.slice(0, 9)}…`
  }));
}

/** The command that runs an input again in a notebook. */
function addReplay(
  commands: CommandRegistry,
  notebooks: INotebookTracker,
  trans: TranslationBundle
): void {
  commands.addCommand(REPLAY, {
    label: trans.__('Replay a failed input here'),
    caption: trans.__(
      'Run a failed input in the notebook’s own kernel, in a new cell'
    ),
    describedBy: {
      args: {
        type: 'object',
        properties: {
          callId: { type: 'string' },
          index: { type: 'number' },
          path: { type: 'string' }
        }
      }
    },
    isEnabled: () => notebooks.currentWidget !== null,
    isVisible: args => textOf(args, 'callId') !== '',
    execute: async args => {
      const code = replayCode(textOf(args, 'callId'), Number(args.index));
      const panel = notebookOf(notebooks, textOf(args, 'path'));
      if (!code || !panel) {
        Notification.warning(
          trans.__(
            'Open the notebook that made this call, then replay the input.'
          )
        );
        return;
      }
      await replay(panel, null, code);
    }
  });
}

/** Do what buttons of displays in cells ask for. */
function listenToDisplays(
  app: JupyterFrontEnd,
  notebooks: INotebookTracker | null,
  trans: TranslationBundle
): void {
  document.body.dataset[MARK] = '1';
  document.addEventListener(TIMELINE_EVENT, event => {
    const { call } = detailOf(event);
    event.preventDefault();
    void app.commands.execute(LabCommands.openTimeline, { callId: call });
  });
  document.addEventListener(REPLAY_EVENT, event => {
    const { call, index } = detailOf(event);
    const code = replayCode(call, index);
    const place =
      notebooks && event.target instanceof Node
        ? cellOf(notebooks, event.target)
        : null;
    if (!code || !place) {
      return; // the display says how to do it by hand
    }
    event.preventDefault();
    replay(place.panel, place.index, code).catch((reason: unknown) => {
      Notification.error(
        trans.__('The input could not be run here: %1', String(reason))
      );
    });
  });
}

function detailOf(event: Event): { call: string; index: number } {
  const detail: unknown = event instanceof CustomEvent ? event.detail : null;
  const found = (detail ?? {}) as { call?: unknown; index?: unknown };
  return {
    call: typeof found.call === 'string' ? found.call : '',
    index: typeof found.index === 'number' ? found.index : -1
  };
}
