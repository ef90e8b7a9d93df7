/**
 * A number with buttons that decrease and increase it. It is a text field with the role of a spin button: the mouse
 * wheel does not change it.
 */
import React from 'react';

import { usePanel } from './context';

/** Milliseconds within which a second click on a button is taken for a double click, and ignored. */
const DOUBLE_CLICK = 200;
const LARGE_STEP = 10;

interface IStepperProps {
  value: number;
  max: number;
  label: string;
  isDisabled: boolean;
  onChange: (value: number) => void;
  /** Called when a button or key asks for a number beyond a limit. */
  onLimit: (limit: 'min' | 'max') => void;
}

export function Stepper(props: IStepperProps): React.JSX.Element {
  const { value, max, label, isDisabled } = props;
  const { trans } = usePanel();
  // Typed text that was not entered yet; null otherwise.
  const [draft, setDraft] = React.useState<string | null>(null);
  const clicked = React.useRef(-Infinity);

  const change = (to: number): void => {
    setDraft(null);
    if (to < 0 || to > max) {
      props.onLimit(to < 0 ? 'min' : 'max');
    }
    const next = Math.max(0, Math.min(to, Math.max(max, value)));
    if (next !== value) {
      props.onChange(next);
    }
  };
  const click = (event: React.MouseEvent, by: number): void => {
    event.stopPropagation();
    const isDouble = event.timeStamp - clicked.current < DOUBLE_CLICK;
    clicked.current = event.timeStamp;
    if (!isDouble) {
      change(value + by);
    }
  };
  const enter = (): void => {
    if (draft !== null && /^\d{1,9}$/.test(draft)) {
      change(Number(draft));
    } else {
      setDraft(null);
    }
  };
  const press = (event: React.KeyboardEvent): void => {
    const target = keyTarget(event.key, value, max);
    if (target !== null) {
      change(target);
    } else if (event.key === 'Enter') {
      enter();
    } else {
      if (event.key === 'Escape') {
        setDraft(null);
      }
      return; // typing, and the keys of the row
    }
    event.preventDefault();
    event.stopPropagation();
  };
  return (
    <span className="jp-nbfn-stepper" role="group" aria-label={label}>
      <button
        tabIndex={-1}
        aria-label={trans.__('One warm worker less')}
        title={trans.__('One warm worker less')}
        disabled={isDisabled}
        aria-disabled={value <= 0}
        onClick={event => click(event, -1)}
      >
        −
      </button>
      <input
        type="text"
        inputMode="numeric"
        role="spinbutton"
        data-control="warm"
        tabIndex={-1}
        size={2}
        aria-label={label}
        title={label}
        aria-valuenow={value}
        aria-valuemin={0}
        aria-valuemax={max}
        disabled={isDisabled}
        value={draft ?? String(value)}
        onFocus={event => event.target.select()}
        onChange={event => setDraft(event.target.value)}
        onKeyDown={press}
        onBlur={enter}
      />
      <button
        tabIndex={-1}
        aria-label={trans.__('One warm worker more')}
        title={trans.__('One warm worker more')}
        disabled={isDisabled}
        aria-disabled={value >= max}
        onClick={event => click(event, 1)}
      >
        +
      </button>
    </span>
  );
}

/** The number that a key asks for; null for other keys. */
function keyTarget(key: string, value: number, max: number): number | null {
  const targets: Readonly<Record<string, number>> = {
    ArrowUp: value + 1,
    ArrowDown: value - 1,
    PageUp: Math.min(value + LARGE_STEP, max),
    PageDown: Math.max(value - LARGE_STEP, 0)
  };
  return targets[key] ?? null;
}
