/** What the timeline shows: spans, lanes and the time that is visible. Times are in seconds since 1970. */
import type { ITimelineCall, ITimelineLane } from '../model/schema';

export type Outcome =
  | 'succeeded'
  | 'failed'
  | 'timed out'
  | 'worker lost'
  | 'cancelled'
  | 'running';

/** The outcomes by their numbers in the schema. */
const OUTCOMES: Record<number, Outcome> = {
  1: 'succeeded',
  2: 'failed',
  3: 'failed',
  4: 'cancelled',
  5: 'timed out',
  6: 'worker lost',
  7: 'running'
};

export function outcomeOf(number: number): Outcome {
  return OUTCOMES[number] ?? 'failed';
}

/** Whether an attempt ended without a result, and was not cancelled. */
export function isFailure(outcome: Outcome): boolean {
  return (
    outcome === 'failed' || outcome === 'timed out' || outcome === 'worker lost'
  );
}

/** One attempt of an input, or several quick inputs from `index` on. */
export interface ISpan {
  queued: number;
  started: number;
  ended: number;
  busy: number;
  index: number;
  inputs: number;
  call: ITimelineCall;
  lane: ITimelineLane;
  attempt: number;
  outcome: Outcome;
  /** The part of the lane in which it is drawn, from 0; inputs that overlap have different ones. */
  row: number;
}

/** What a worker did in an equal part of the time, where single spans are too many. */
export interface IBin {
  started: number;
  ended: number;
  inputs: number;
  failed: number;
  /** From 0 to 1; more where several inputs run at once. */
  load: number;
  call: ITimelineCall;
}

/** A worker and what it did, ordered by start. */
export interface ILaneData {
  lane: ITimelineLane;
  spans: ISpan[];
  bins: IBin[];
  /** The most inputs at once, at least 1. */
  rows: number;
  /** The longest span, in seconds: where to begin to search for what is visible. */
  longest: number;
}

/** The time that is visible. */
export interface IWindow {
  start: number;
  end: number;
}
