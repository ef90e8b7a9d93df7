/** The bar above a log: filters, Pause, Copy and Clear. */
import { Clipboard } from '@jupyterlab/apputils';
import type { TranslationBundle } from '@jupyterlab/translation';
import React from 'react';

import { clock } from '../model/format';
import type { ILogRow } from '../model/schema';
import type { LogModel, LogSource } from './logModel';

interface IFilterProps {
  model: LogModel;
  trans: TranslationBundle;
}

export function LogFilters({ model, trans }: IFilterProps): React.JSX.Element {
  return (
    <div
      className="jp-nbfn-logFilters"
      role="group"
      aria-label={trans.__('Filters of the log')}
    >
      <input
        type="search"
        className="jp-nbfn-logSearch"
        aria-label={trans.__('Show lines with this text')}
        placeholder={trans.__('Filter')}
        value={model.search}
        onChange={event => {
          model.search = event.target.value;
        }}
      />
      <SourceSelect model={model} trans={trans} />
      <label className="jp-nbfn-logIndex">
        {trans.__('Input')}
        <input
          type="number"
          min={0}
          placeholder={trans.__('all')}
          value={model.index ?? ''}
          onChange={event => {
            const text = event.target.value;
            model.index = /^\d+$/.test(text) ? Number(text) : null;
          }}
        />
      </label>
      <span className="jp-nbfn-spacer" />
      <button
        type="button"
        className="jp-nbfn-button"
        aria-pressed={model.isPaused}
        disabled={model.isEnded}
        onClick={() => {
          model.isPaused = !model.isPaused;
        }}
      >
        {model.isPaused ? trans.__('Resume') : trans.__('Pause')}
      </button>
      <CopyButton model={model} trans={trans} />
      <button
        type="button"
        className="jp-nbfn-button"
        disabled={model.total === 0}
        onClick={() => model.clear()}
      >
        {trans.__('Clear')}
      </button>
    </div>
  );
}

function SourceSelect({ model, trans }: IFilterProps): React.JSX.Element {
  const sources: readonly [LogSource, string][] = [
    ['all', trans.__('All output')],
    ['stdout', 'stdout'],
    ['stderr', 'stderr'],
    ['system', trans.__('System')]
  ];
  return (
    <select
      aria-label={trans.__('Output')}
      value={model.source}
      onChange={event => {
        model.source = event.target.value as LogSource;
      }}
    >
      {sources.map(([value, text]) => (
        <option key={value} value={value}>
          {text}
        </option>
      ))}
    </select>
  );
}

/** Copies the lines that match the filters. */
function CopyButton({ model, trans }: IFilterProps): React.JSX.Element {
  const [copied, setCopied] = React.useState(0);
  const copy = (): void => {
    const lines = model.lines;
    Clipboard.copyToSystem(lines.map(textOf).join('\n'));
    setCopied(lines.length);
  };
  return (
    <button
      type="button"
      className="jp-nbfn-button"
      disabled={model.lines.length === 0}
      onClick={copy}
      onBlur={() => setCopied(0)}
    >
      {copied > 0
        ? trans._n('%1 line copied', '%1 lines copied', copied)
        : trans.__('Copy')}
    </button>
  );
}

function textOf(line: ILogRow): string {
  const input = line.call ? `[${line.index}] ` : '';
  return `${clock(new Date(line.at * 1000))} ${input}${line.message}`;
}
