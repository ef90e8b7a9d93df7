/** The view of a log: filters, and the lines, of which only the visible ones are in the page. */
import type { TranslationBundle } from '@jupyterlab/translation';
import { VDomRenderer } from '@jupyterlab/ui-components';
import { useVirtualizer } from '@tanstack/react-virtual';
import type { Message } from '@lumino/messaging';
import React from 'react';

import { clock } from '../model/format';
import type { ILogRow } from '../model/schema';
import { LogFilters } from './logFilters';
import type { LogModel } from './logModel';

/** Pixels of one line, before it is measured. */
const LINE_HEIGHT = 18;

/** Pixels from the end at which the view still follows. */
const NEAR_END = 30;

export class LogView extends VDomRenderer<LogModel> {
  constructor(
    model: LogModel,
    private readonly _trans: TranslationBundle
  ) {
    super(model);
    this.addClass('jp-nbfn-logs');
  }

  override dispose(): void {
    if (this.isDisposed) {
      return;
    }
    document.removeEventListener('visibilitychange', this._onVisibility);
    this.model.dispose();
    super.dispose();
  }

  protected override onAfterAttach(msg: Message): void {
    super.onAfterAttach(msg);
    document.addEventListener('visibilitychange', this._onVisibility);
    this._onVisibility();
  }

  protected override onAfterShow(msg: Message): void {
    super.onAfterShow(msg);
    this._onVisibility();
  }

  protected override onAfterHide(msg: Message): void {
    super.onAfterHide(msg);
    this._onVisibility();
  }

  protected override onActivateRequest(msg: Message): void {
    super.onActivateRequest(msg);
    this.node.querySelector<HTMLElement>('[role=log]')?.focus();
  }

  protected override render(): React.JSX.Element {
    return <Log model={this.model} trans={this._trans} />;
  }

  private readonly _onVisibility = (): void => {
    this.model.isVisible =
      this.isVisible && document.visibilityState === 'visible';
  };
}

interface ILogProps {
  model: LogModel;
  trans: TranslationBundle;
}

export function Log({ model, trans }: ILogProps): React.JSX.Element {
  return (
    <>
      <LogFilters model={model} trans={trans} />
      <Lines model={model} trans={trans} />
      <div className="jp-nbfn-logStatus" role="status">
        {statusOf(model, trans)}
      </div>
    </>
  );
}

function Lines({ model, trans }: ILogProps): React.JSX.Element {
  const scroller = React.useRef<HTMLDivElement>(null);
  const [isAtEnd, setAtEnd] = React.useState(true);
  const lines = model.lines;
  const count = lines.length;
  const virtualizer = useVirtualizer({
    count,
    getScrollElement: () => scroller.current,
    estimateSize: () => LINE_HEIGHT,
    getItemKey: at => lines[at]?.id ?? at,
    overscan: 20
  });
  React.useLayoutEffect(() => {
    if (isAtEnd && count > 0) {
      virtualizer.scrollToIndex(count - 1, { align: 'end' });
    }
  }, [count, isAtEnd, lines, virtualizer]);
  const onScroll = (): void => {
    const node = scroller.current;
    if (node) {
      const left = node.scrollHeight - node.scrollTop - node.clientHeight;
      setAtEnd(left < NEAR_END);
    }
  };
  return (
    <div className="jp-nbfn-logFrame">
      <div
        ref={scroller}
        className="jp-nbfn-logLines"
        role="log"
        aria-label={trans.__('Log')}
        aria-live="off"
        tabIndex={0}
        onScroll={onScroll}
      >
        {count === 0 && (
          <p className="jp-nbfn-empty">{emptyText(model, trans)}</p>
        )}
        <div
          className="jp-nbfn-logSpace"
          style={{ height: virtualizer.getTotalSize() }}
        >
          {virtualizer.getVirtualItems().map(item => {
            const line = lines[item.index];
            return (
              <div
                key={item.key}
                ref={virtualizer.measureElement}
                data-index={item.index}
                className="jp-nbfn-logLine"
                data-source={line.source}
                style={{ transform: `translateY(${item.start}px)` }}
              >
                <Line line={line} model={model} trans={trans} />
              </div>
            );
          })}
        </div>
      </div>
      {!isAtEnd && (
        <button
          type="button"
          className="jp-nbfn-button jp-nbfn-logEnd"
          onClick={() => setAtEnd(true)}
        >
          {trans.__('Follow')}
        </button>
      )}
    </div>
  );
}

function Line({
  line,
  model,
  trans
}: ILogProps & { line: ILogRow }): React.JSX.Element {
  const at = new Date(line.at * 1000);
  return (
    <>
      <time dateTime={at.toISOString()}>{clock(at)}</time>
      {line.call ? (
        <button
          type="button"
          tabIndex={-1}
          className="jp-nbfn-logInput"
          title={trans.__(
            'Input %1 of %2. Click to show its lines only, or all again.',
            line.index,
            line.call
          )}
          onClick={() => {
            model.index = model.index === line.index ? null : line.index;
          }}
        >
          {`[${line.index}]`}
        </button>
      ) : (
        <span className="jp-nbfn-logInput" title={line.worker}>
          {line.worker.slice(0, 7)}
        </span>
      )}
      <span className="jp-nbfn-logText">{line.message}</span>
    </>
  );
}

function emptyText(model: LogModel, trans: TranslationBundle): string {
  if (model.total > 0) {
    return trans.__('No line matches the filters.');
  }
  return model.isEnded ? trans.__('No output.') : trans.__('No output yet.');
}

function statusOf(model: LogModel, trans: TranslationBundle): string {
  const shown =
    model.lines.length === model.total
      ? trans._n('%1 line', '%1 lines', model.total)
      : trans.__('%1 of %2 lines', model.lines.length, model.total);
  const rest = model.isTruncated
    ? ` ${trans.__('(earlier ones are not shown)')}`
    : '';
  return `${shown}${rest} · ${stateOf(model, trans)}`;
}

function stateOf(model: LogModel, trans: TranslationBundle): string {
  if (model.error) {
    return trans.__('not up to date: %1', model.error);
  }
  if (model.isEnded) {
    return trans.__('ended');
  }
  return model.isPaused ? trans.__('paused') : trans.__('following');
}
