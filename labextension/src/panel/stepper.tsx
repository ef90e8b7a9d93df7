/** A number input with buttons that decrease and increase it. */
import type { TranslationBundle } from '@jupyterlab/translation';
import React from 'react';

interface IStepperProps {
  value: number;
  max: number;
  label: string;
  disabled: boolean;
  trans: TranslationBundle;
  onChange: (value: number) => void;
}

export function Stepper(props: IStepperProps): React.JSX.Element {
  const { value, max, label, disabled, trans, onChange } = props;
  // Typed text that is not a number; null otherwise.
  const [draft, setDraft] = React.useState<string | null>(null);

  const typed = (text: string): void => {
    if (/^\d+$/.test(text)) {
      setDraft(null);
      onChange(Number(text));
    } else {
      setDraft(text);
    }
  };
  const step = (by: number): void => {
    setDraft(null);
    onChange(Math.max(0, value + by));
  };
  return (
    <span className="jp-nbfn-stepper" role="group" aria-label={label}>
      <button
        tabIndex={-1}
        aria-label={trans.__('One warm worker less')}
        disabled={disabled || value <= 0}
        onClick={() => step(-1)}
      >
        −
      </button>
      <input
        type="number"
        min={0}
        max={max}
        aria-label={label}
        title={label}
        aria-valuenow={value}
        aria-valuemin={0}
        aria-valuemax={max}
        disabled={disabled}
        value={draft ?? value}
        onChange={event => typed(event.target.value)}
        onBlur={() => setDraft(null)}
      />
      <button
        tabIndex={-1}
        aria-label={trans.__('One warm worker more')}
        disabled={disabled || value >= max}
        onClick={() => step(1)}
      >
        +
      </button>
    </span>
  );
}
