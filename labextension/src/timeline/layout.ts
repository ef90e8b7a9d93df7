/** Where things are: lanes from top to bottom, time from left to right, and what is too narrow to be drawn alone. */
import {
  isFailure,
  type IBin,
  type ILaneData,
  type ISpan,
  type IWindow
} from './types';

/** Pixels: the axis, the name of a host, a lane, and the least height of a row in it. */
export const AXIS = 24;
export const HOST = 20;
export const LANE = 26;
export const LEAST_ROW = 5;
/** Spans that are narrower are drawn together with their neighbours. */
export const NARROW = 2;
/** The least and the most seconds that are visible. */
export const LEAST_SECONDS = 1e-4;
export const MOST_SECONDS = 30 * 86400;

/** A lane, or the name of a host above its lanes, with its place in the list. */
export interface IPlace {
  top: number;
  height: number;
  host: string;
  data: ILaneData | null;
}

/** One rectangle: a span, or several narrow ones. */
export interface IBox {
  x: number;
  width: number;
  top: number;
  height: number;
  /** The span, or the first of several. */
  span: ISpan | null;
  bin: IBin | null;
  /** How many inputs it stands for, how many attempts in it failed, and the share of it that is covered. */
  inputs: number;
  failed: number;
  load: number;
}

/** Place lanes below the names of their hosts. */
export function places(lanes: readonly ILaneData[]): IPlace[] {
  const found: IPlace[] = [];
  let top = 0;
  let host: string | null = null;
  for (const data of lanes) {
    if (data.lane.host !== host) {
      host = data.lane.host;
      found.push({ top, height: HOST, host, data: null });
      top += HOST;
    }
    const height = Math.max(LANE, data.rows * LEAST_ROW + 6);
    found.push({ top, height, host, data });
    top += height;
  }
  return found;
}

export function totalHeight(list: readonly IPlace[]): number {
  const last = list.at(-1);
  return last ? last.top + last.height : 0;
}

/** The places that overlap a part of the list. */
export function visiblePlaces(
  list: readonly IPlace[],
  top: number,
  height: number
): IPlace[] {
  const first = lowerBound(
    list.length,
    i => list[i].top + list[i].height <= top
  );
  const found: IPlace[] = [];
  for (let i = first; i < list.length; i++) {
    const place = list[i];
    if (place.top >= top + height) {
      break;
    }
    found.push(place);
  }
  return found;
}

/** The first number from 0 to `count` for which `isBefore` is false. */
export function lowerBound(
  count: number,
  isBefore: (index: number) => boolean
): number {
  let low = 0;
  let high = count;
  while (low < high) {
    const middle = (low + high) >>> 1;
    if (isBefore(middle)) {
      low = middle + 1;
    } else {
      high = middle;
    }
  }
  return low;
}

export function xOf(time: number, window: IWindow, width: number): number {
  return ((time - window.start) / (window.end - window.start)) * width;
}

export function timeAt(x: number, window: IWindow, width: number): number {
  return window.start + (x / Math.max(width, 1)) * (window.end - window.start);
}

/**
 * The rectangles of a lane. Narrow spans of a row that touch the same pixels become one, so there are at most about
 * as many as pixels, however many spans there are.
 */
export function boxes(place: IPlace, window: IWindow, width: number): IBox[] {
  const { data } = place;
  if (!data) {
    return [];
  }
  return data.bins.length > 0
    ? [
        ...binBoxes(place, data, window, width),
        ...spanBoxes(place, data, window, width)
      ]
    : spanBoxes(place, data, window, width);
}

function spanBoxes(
  place: IPlace,
  data: ILaneData,
  window: IWindow,
  width: number
): IBox[] {
  const { spans } = data;
  const height = (place.height - 6) / data.rows;
  const scale = width / (window.end - window.start);
  const found: IBox[] = [];
  const open: (IBox | undefined)[] = [];
  const first = lowerBound(
    spans.length,
    i => spans[i].started < window.start - data.longest
  );
  for (let i = first; i < spans.length; i++) {
    const span = spans[i];
    if (span.started > window.end) {
      break;
    }
    if (span.ended < window.start) {
      continue;
    }
    const x = (span.started - window.start) * scale;
    const wide = (span.ended - span.started) * scale;
    const before = open[span.row];
    if (wide < NARROW && before && x < before.x + NARROW) {
      before.inputs += span.inputs;
      before.failed += isFailure(span.outcome) ? 1 : 0;
      before.load = Math.min(1, before.load + wide / NARROW);
      continue;
    }
    const box: IBox = {
      x,
      width: Math.max(wide, NARROW),
      top: place.top + 3 + span.row * height,
      height: height - (height > 8 ? 1 : 0),
      span,
      bin: null,
      inputs: span.inputs,
      failed: isFailure(span.outcome) ? 1 : 0,
      load: wide < NARROW ? wide / NARROW : 1
    };
    open[span.row] = wide < NARROW ? box : undefined;
    found.push(box);
  }
  return found;
}

function binBoxes(
  place: IPlace,
  data: ILaneData,
  window: IWindow,
  width: number
): IBox[] {
  const found: IBox[] = [];
  for (const bin of data.bins) {
    if (bin.ended < window.start || bin.started > window.end) {
      continue;
    }
    const x = xOf(bin.started, window, width);
    found.push({
      x,
      width: Math.max(xOf(bin.ended, window, width) - x, 1),
      top: place.top + 3,
      height: place.height - 6,
      span: null,
      bin,
      inputs: bin.inputs,
      failed: bin.failed,
      load: Math.min(1, bin.load)
    });
  }
  return found;
}

/** The span at a point, or the nearest within a few pixels; narrow ones are preferred if they failed. */
export function spanAt(
  place: IPlace,
  x: number,
  y: number,
  window: IWindow,
  width: number
): ISpan | null {
  const { data } = place;
  if (!data) {
    return null;
  }
  const reach = ((window.end - window.start) / Math.max(width, 1)) * 3;
  const time = timeAt(x, window, width);
  const height = (place.height - 6) / data.rows;
  const row = Math.min(
    data.rows - 1,
    Math.max(0, Math.floor((y - place.top - 3) / height))
  );
  const first = lowerBound(
    data.spans.length,
    i => data.spans[i].started < time - data.longest - reach
  );
  let best: ISpan | null = null;
  let least = Infinity;
  for (let i = first; i < data.spans.length; i++) {
    const span = data.spans[i];
    if (span.started > time + reach) {
      break;
    }
    if (span.row !== row) {
      continue;
    }
    const away = Math.max(span.started - time, time - span.ended, 0);
    const cost = away - (isFailure(span.outcome) ? reach : 0);
    if (away <= reach && cost < least) {
      best = span;
      least = cost;
    }
  }
  return best;
}

/** Zoom by a factor; the time at `centre` stays where it is. */
export function zoomed(
  window: IWindow,
  factor: number,
  centre: number
): IWindow {
  const seconds = window.end - window.start;
  const wanted = Math.min(
    MOST_SECONDS,
    Math.max(LEAST_SECONDS, seconds * factor)
  );
  const share = (centre - window.start) / seconds;
  const start = centre - share * wanted;
  return { start, end: start + wanted };
}

export function panned(window: IWindow, seconds: number): IWindow {
  return { start: window.start + seconds, end: window.end + seconds };
}

/** A window around a time range, with some room at both ends. */
export function fitted(start: number, end: number): IWindow {
  const room = Math.max((end - start) * 0.02, LEAST_SECONDS);
  return { start: start - room, end: end + room };
}

/** A mark of the axis. */
export interface ITick {
  time: number;
  label: string;
}

const STEPS = [1, 2, 5];
const LONG_STEPS = [
  1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 10800, 21600,
  43200, 86400
];

/** The step between two marks, in seconds, so that there are about `count` of them. */
export function tickStep(seconds: number, count: number): number {
  const wanted = seconds / Math.max(count, 1);
  if (wanted > 1) {
    return (
      LONG_STEPS.find(step => step >= wanted) ??
      Math.ceil(wanted / 86400) * 86400
    );
  }
  const power = 10 ** Math.floor(Math.log10(wanted));
  const step = STEPS.find(each => each * power >= wanted * 0.999);
  return (step ?? 10) * power;
}

/** The marks of the axis; times are counted from `origin`. */
export function ticks(window: IWindow, width: number, origin: number): ITick[] {
  const step = tickStep(window.end - window.start, width / 90);
  const found: ITick[] = [];
  const first = Math.ceil((window.start - origin) / step);
  for (let n = first; origin + n * step <= window.end; n++) {
    found.push({ time: origin + n * step, label: offset(n * step, step) });
  }
  return found;
}

/** Seconds from the origin as text: 1.25 s, 3:20, 1:02:05. */
export function offset(seconds: number, step: number): string {
  const sign = seconds < -1e-9 ? '−' : '';
  const value = Math.abs(seconds);
  if (step < 1e-3) {
    const digits = Math.max(0, -Math.floor(Math.log10(step * 1e3) + 1e-9));
    return `${sign}${(value * 1e3).toFixed(digits)} ms`;
  }
  if (step < 1 || value < 60) {
    const digits = Math.max(0, -Math.floor(Math.log10(step) + 1e-9));
    return `${sign}${value.toFixed(Math.min(digits, 3))} s`;
  }
  const whole = Math.round(value);
  const pad = (part: number): string => part.toString().padStart(2, '0');
  const hours = Math.floor(whole / 3600);
  const minutes = Math.floor(whole / 60) % 60;
  return hours > 0
    ? `${sign}${hours}:${pad(minutes)}:${pad(whole % 60)}`
    : `${sign}${minutes}:${pad(whole % 60)}`;
}
