/** The timeline: tools, summary, chart or table, legend and details. */
import type { TranslationBundle } from '@jupyterlab/translation';
import { ReactWidget } from '@jupyterlab/ui-components';
import React, { useEffect, useReducer, useState } from 'react';

import { clock } from '../model/format';
import { Chart } from './chart';
import { Details, type IActions } from './details';
import { textureTile, type Looks, type Texture } from './painter';
import { SummaryView } from './summaryView';
import { Table } from './table';
import type { IFilter, TimelineModel } from './timelineModel';

/** A choice of the filter. */
export interface IChoice {
  filter: IFilter;
  label: string;
}

export interface IViewProps {
  model: TimelineModel;
  looks: Looks;
  trans: TranslationBundle;
  actions: IActions;
  /** The calls that can be chosen, newest first. */
  choices: () => IChoice[];
}

export class TimelineView extends ReactWidget {
  constructor(props: IViewProps) {
    super();
    this._props = props;
    this.addClass('jp-nbfn-tl');
  }

  protected override render(): React.JSX.Element {
    return <Timeline {...this._props} />;
  }

  private readonly _props: IViewProps;
}

export function Timeline(props: IViewProps): React.JSX.Element {
  const { model, trans } = props;
  const [, redraw] = useReducer((count: number) => count + 1, 0);
  const [asTable, setAsTable] = useState(false);
  const [said, setSaid] = useState('');
  useEffect(() => {
    const theme = new MutationObserver(redraw); // JupyterLab sets attributes of the body
    theme.observe(document.body, { attributes: true });
    model.changed.connect(redraw);
    return () => {
      theme.disconnect();
      model.changed.disconnect(redraw);
    };
  }, [model]);
  return (
    <>
      <Tools {...props} asTable={asTable} setAsTable={setAsTable} />
      <Problem model={model} trans={trans} />
      {model.lanes.length === 0 ? (
        <Empty model={model} trans={trans} />
      ) : (
        <>
          <SummaryView model={model} trans={trans} />
          <div className="jp-nbfn-tl-body">
            {asTable ? (
              <Table model={model} trans={trans} />
            ) : (
              <Chart {...props} announce={setSaid} />
            )}
            <Details {...props} />
          </div>
          {!asTable && <Legend {...props} />}
        </>
      )}
      <div className="jp-nbfn-tl-said" role="status" aria-live="polite">
        {said}
      </div>
    </>
  );
}

function Tools(
  props: IViewProps & {
    asTable: boolean;
    setAsTable: (asTable: boolean) => void;
  }
): React.JSX.Element {
  const { model, trans, asTable, setAsTable } = props;
  const button = (
    label: string,
    text: string,
    action: () => void,
    pressed?: boolean
  ): React.JSX.Element => (
    <button
      className="jp-nbfn-button"
      aria-label={label}
      title={label}
      aria-pressed={pressed}
      onClick={action}
    >
      {text}
    </button>
  );
  return (
    <div
      className="jp-nbfn-tl-tools"
      role="toolbar"
      aria-label={trans.__('Timeline')}
    >
      <Filter {...props} />
      {button(trans.__('Zoom in (+)'), '+', () => model.zoom(0.5))}
      {button(trans.__('Zoom out (−)'), '−', () => model.zoom(2))}
      {button(
        trans.__('Show everything (Home)'),
        trans.__('Fit'),
        () => model.fit(),
        model.mode === 'fit'
      )}
      {button(
        trans.__('Follow the present (End)'),
        trans.__('Follow'),
        () => model.setFollow(model.mode !== 'follow'),
        model.mode === 'follow'
      )}
      {button(
        trans.__('Show the inputs as a table'),
        trans.__('Table'),
        () => setAsTable(!asTable),
        asTable
      )}
      <span className="jp-nbfn-spacer" />
      {model.isLive && (
        <span className="jp-nbfn-tl-live">
          <span aria-hidden="true">● </span>
          {trans.__('live')}
        </span>
      )}
    </div>
  );
}

function Filter({ model, trans, choices }: IViewProps): React.JSX.Element {
  const { filter } = model;
  const value = JSON.stringify(filter);
  const all = choices();
  const known = all.some(each => JSON.stringify(each.filter) === value);
  return (
    <select
      className="jp-nbfn-tl-filter"
      aria-label={trans.__('What the timeline shows')}
      value={value}
      onChange={event =>
        void model.setFilter(JSON.parse(event.target.value) as IFilter)
      }
    >
      <option value="{}">{trans.__('Everything')}</option>
      {!known && value !== '{}' && (
        <option value={value}>{model.nameOf(filter)}</option>
      )}
      {all.map(each => (
        <option
          key={JSON.stringify(each.filter)}
          value={JSON.stringify(each.filter)}
        >
          {each.label}
        </option>
      ))}
    </select>
  );
}

function Problem(props: {
  model: TimelineModel;
  trans: TranslationBundle;
}): React.JSX.Element | null {
  const { model, trans } = props;
  if (!model.problem) {
    return null;
  }
  return (
    <div className="jp-nbfn-tl-problem" role="alert">
      <span>
        {model.problem}{' '}
        {model.loadedAt && trans.__('Shown as of %1.', clock(model.loadedAt))}
      </span>
      <button className="jp-nbfn-button" onClick={() => void model.reload()}>
        {trans.__('Retry now')}
      </button>
    </div>
  );
}

function Empty(props: {
  model: TimelineModel;
  trans: TranslationBundle;
}): React.JSX.Element | null {
  const { model, trans } = props;
  if (model.problem) {
    return null;
  }
  if (!model.loadedAt) {
    return <p className="jp-nbfn-tl-empty">{trans.__('Loading…')}</p>;
  }
  return (
    <p className="jp-nbfn-tl-empty">
      {model.dropped > 0
        ? trans.__(
            'The hub no longer has what was here. It keeps the newest inputs.'
          )
        : trans.__(
            'No worker has run anything yet. Call a Function, and its inputs appear here.'
          )}
    </p>
  );
}

function Legend({ model, looks, trans }: IViewProps): React.JSX.Element {
  const functions = new Map<string, string>();
  for (const { spans, bins } of model.lanes) {
    const sample = [
      ...spans.slice(0, 50),
      ...spans.slice(-50),
      ...bins.slice(0, 50)
    ];
    for (const { call } of sample) {
      functions.set(call.function, call.name);
    }
  }
  return (
    <ul
      key={document.body.dataset.jpThemeName}
      className="jp-nbfn-tl-legend"
      aria-label={trans.__('Legend')}
    >
      {[...functions].slice(0, 12).map(([id, name]) => (
        <li key={id}>
          <Swatch {...looks.of(id)} />
          {name}
        </li>
      ))}
      <li>
        <Swatch colour="" texture="starting" />
        {trans.__('worker starts')}
      </li>
      <li>
        <span className="jp-nbfn-tl-markFailed" aria-hidden="true">
          ✕
        </span>
        {trans.__('failed')}
      </li>
      <li>
        <Swatch colour="" texture="cancelled" />
        {trans.__('cancelled')}
      </li>
      <li>
        <span className="jp-nbfn-tl-markRunning" aria-hidden="true" />
        {trans.__('running')}
      </li>
    </ul>
  );
}

function Swatch(props: {
  colour: string;
  texture: Texture | 'starting' | 'cancelled';
}): React.JSX.Element {
  const [picture, setPicture] = useState('');
  const { colour, texture } = props;
  return (
    <span
      className="jp-nbfn-tl-swatch"
      aria-hidden="true"
      ref={node => {
        if (node && !picture) {
          const style = getComputedStyle(node);
          const ground = style.getPropertyValue('--jp-layout-color1').trim();
          const tile = textureTile(
            colour || style.getPropertyValue('--jp-ui-font-color2').trim(),
            texture,
            ground || '#fff'
          );
          if (tile) {
            setPicture(tile.toDataURL());
          }
        }
      }}
      style={{ backgroundImage: picture ? `url(${picture})` : undefined }}
    />
  );
}
