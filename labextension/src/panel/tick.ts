/** Draws a component again each second, so that its times are right. */
import React from 'react';

/** Milliseconds between two ticks. */
const TICK = 1000;

const listeners = new Set<() => void>();
let timer: number | undefined;

function tick(): void {
  if (document.visibilityState === 'visible') {
    listeners.forEach(listener => listener());
  }
}

/** All components share one timer; components that do not tick use none. */
export function useTick(ticks: boolean): void {
  const [, redraw] = React.useReducer((n: number) => n + 1, 0);
  React.useEffect(() => {
    if (!ticks) {
      return undefined;
    }
    listeners.add(redraw);
    timer ??= window.setInterval(tick, TICK);
    return () => {
      listeners.delete(redraw);
      if (listeners.size === 0) {
        window.clearInterval(timer);
        timer = undefined;
      }
    };
  }, [ticks]);
}
