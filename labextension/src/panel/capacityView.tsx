/** How much of the processors, the memory and the GPUs of the hub's machine workers have reserved. */
import React from 'react';

import { bytes } from '../model/format';
import type { IHubRow } from '../model/schema';
import { usePanel } from './context';

export function CapacityView(props: {
  hub: IHubRow;
  isStale: boolean;
}): React.JSX.Element {
  const { hub, isStale } = props;
  const { trans } = usePanel();
  return (
    <div
      className={isStale ? 'jp-nbfn-capacity jp-mod-stale' : 'jp-nbfn-capacity'}
    >
      <Gauge
        label={trans.__('cpu')}
        used={hub.cpus_used}
        total={hub.cpus}
        format={cores}
      />
      {hub.memory > 0 && (
        <Gauge
          label={trans.__('memory')}
          used={hub.memory_used}
          total={hub.memory}
          format={bytes}
        />
      )}
      <Gauge
        label={trans.__('gpu')}
        used={hub.gpus_used}
        total={hub.gpus}
        format={String}
      />
    </div>
  );
}

function cores(count: number): string {
  return String(Math.round(count * 10) / 10);
}

function Gauge(props: {
  label: string;
  used: number;
  total: number;
  format: (value: number) => string;
}): React.JSX.Element {
  const { label, used, total, format } = props;
  const { trans } = usePanel();
  if (total === 0) {
    return (
      <span className="jp-nbfn-gauge">
        {label} <span>{trans.__('none')}</span>
      </span>
    );
  }
  const text = trans.__('%1 of %2 in use', format(used), format(total));
  return (
    <span className="jp-nbfn-gauge" title={`${label}: ${text}`}>
      {label}
      <span
        className="jp-nbfn-bar"
        role="progressbar"
        aria-label={label}
        aria-valuemin={0}
        aria-valuemax={total}
        aria-valuenow={Math.min(used, total)}
        aria-valuetext={text}
      >
        <span
          className="jp-nbfn-barRunning"
          style={{ width: `${Math.min(100, (100 * used) / total)}%` }}
        />
      </span>
      <span aria-hidden="true">{`${format(used)} / ${format(total)}`}</span>
    </span>
  );
}
