/** What is known of the selected span, with its traceback and the ways to its logs and to a replay. */
import type { TranslationBundle } from '@jupyterlab/translation';
import React, { useEffect, useRef, useState } from 'react';

import { clock, duration } from '../model/format';
import { inputName, MARKS, outcomeText } from './text';
import type { TimelineModel } from './timelineModel';
import { isFailure, type ISpan } from './types';

/** What the details can start; null where it is not available. */
export interface IActions {
  openLogs: ((span: ISpan) => void) | null;
  showCall: ((span: ISpan) => void) | null;
  replay: ((span: ISpan) => void) | null;
  /** Bytes that a worker uses now; null if unknown. */
  memoryOf: (worker: string) => number | null;
}

export interface IDetailsProps {
  model: TimelineModel;
  actions: IActions;
  trans: TranslationBundle;
}

export function Details({
  model,
  actions,
  trans
}: IDetailsProps): React.JSX.Element | null {
  const span = model.selected;
  const node = useRef<HTMLElement>(null);
  useEffect(() => {
    if (span) {
      node.current?.scrollIntoView({ block: 'nearest' });
    }
  }, [span]);
  if (!span) {
    return null;
  }
  return (
    <section
      ref={node}
      className="jp-nbfn-tl-details"
      aria-label={trans.__('Details of %1', inputName(span))}
    >
      <header>
        <b>{inputName(span)}</b>
        <span data-outcome={span.outcome} className="jp-nbfn-tl-outcome">
          <span aria-hidden="true">{MARKS[span.outcome]} </span>
          {outcomeText(span.outcome, trans)}
        </span>
        <span className="jp-nbfn-spacer" />
        <Buttons span={span} actions={actions} trans={trans} />
        <button
          className="jp-nbfn-button"
          aria-label={trans.__('Close the details')}
          onClick={() => model.select(null)}
        >
          ✕
        </button>
      </header>
      <dl>
        {facts(span, actions, trans).map(([name, value]) => (
          <div key={name}>
            <dt>{name}</dt>
            <dd>{value}</dd>
          </div>
        ))}
      </dl>
      {isFailure(span.outcome) && (
        <Traceback
          key={`${span.call.id} ${span.index} ${span.attempt}`}
          model={model}
          span={span}
          trans={trans}
        />
      )}
    </section>
  );
}

function Buttons(props: {
  span: ISpan;
  actions: IActions;
  trans: TranslationBundle;
}): React.JSX.Element {
  const { span, actions, trans } = props;
  const { openLogs, showCall, replay } = actions;
  return (
    <>
      {isFailure(span.outcome) && replay && (
        <button
          className="jp-nbfn-button"
          title={trans.__(
            'Run this input in the notebook’s own kernel, in a new cell'
          )}
          onClick={() => replay(span)}
        >
          {trans.__('Replay here')}
        </button>
      )}
      {openLogs && (
        <button className="jp-nbfn-button" onClick={() => openLogs(span)}>
          {trans.__('Logs')}
        </button>
      )}
      {showCall && (
        <button className="jp-nbfn-button" onClick={() => showCall(span)}>
          {trans.__('Show call')}
        </button>
      )}
    </>
  );
}

function facts(
  span: ISpan,
  actions: IActions,
  trans: TranslationBundle
): [string, string][] {
  const { lane, call } = span;
  const at = (time: number): string =>
    `${clock(new Date(time * 1000))}.${Math.floor((time % 1) * 1000)
      .toString()
      .padStart(3, '0')}`;
  const memory = lane.memory_peak || actions.memoryOf(lane.worker);
  const found: [string, string][] = [
    [trans.__('queued'), at(span.queued)],
    [
      trans.__('started'),
      `${at(span.started)} (${trans.__('after %1', duration(Math.max(span.started - span.queued, 0)))})`
    ],
    [
      trans.__('ended'),
      span.outcome === 'running' ? trans.__('runs') : at(span.ended)
    ],
    [trans.__('duration'), duration(span.ended - span.started)]
  ];
  if (span.inputs > 1) {
    found.push([
      trans.__('inputs'),
      trans.__('%1, %2 each', span.inputs, duration(span.busy / span.inputs))
    ]);
  }
  found.push(
    [trans.__('attempt'), String(span.attempt)],
    [
      trans.__('worker'),
      `${lane.worker} (${trans.__('process %1', lane.pid)}${lane.host ? ` · ${lane.host}` : ''})`
    ]
  );
  if (lane.how) {
    found.push([trans.__('worker ended'), lane.how]);
  }
  if (memory) {
    found.push([
      lane.memory_peak ? trans.__('peak memory') : trans.__('memory now'),
      bytes(memory)
    ]);
  }
  found.push([
    trans.__('call'),
    `${call.app}/${call.name} v${call.version} · ${call.kind} · ${call.id}`
  ]);
  return found;
}

export function bytes(value: number): string {
  return value >= 2 ** 30
    ? `${(value / 2 ** 30).toFixed(1)} GB`
    : `${Math.round(value / 2 ** 20)} MB`;
}

function Traceback(props: {
  model: TimelineModel;
  span: ISpan;
  trans: TranslationBundle;
}): React.JSX.Element {
  const { model, span, trans } = props;
  const [text, setText] = useState(trans.__('Loading the traceback…'));
  useEffect(() => {
    let shown = true;
    const put = (found: string): void => {
      if (shown) {
        setText(found);
      }
    };
    const none =
      span.outcome === 'worker lost'
        ? trans.__(
            'The worker was lost: %1.',
            span.lane.how || trans.__('unknown reason')
          )
        : trans.__('The hub no longer has the traceback of this attempt.');
    model.traceback(span).then(
      found => put(found ?? none),
      (reason: unknown) =>
        put(reason instanceof Error ? reason.message : String(reason))
    );
    return () => {
      shown = false;
    };
  }, [model, span, trans]);
  return (
    <pre
      className="jp-nbfn-tl-traceback"
      tabIndex={0}
      aria-label={trans.__('Traceback')}
    >
      {text}
    </pre>
  );
}
