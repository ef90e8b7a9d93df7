/** The chart: names of workers on the left, a canvas with what they did, the axis above; mouse, wheel and keys. */
import type { TranslationBundle } from '@jupyterlab/translation';
import React, {
  useCallback,
  useEffect,
  useMemo,
  useRef,
  useState
} from 'react';

import {
  AXIS,
  fitted,
  offset,
  places,
  spanAt,
  ticks,
  timeAt,
  totalHeight,
  visiblePlaces,
  xOf,
  type IPlace
} from './layout';
import { Painter, themeOf, type Looks } from './painter';
import { sentence, shortWorker } from './text';
import type { TimelineModel } from './timelineModel';
import type { ISpan } from './types';

export interface IChartProps {
  model: TimelineModel;
  looks: Looks;
  trans: TranslationBundle;
  /** Called when a span is selected by keyboard, to be read aloud. */
  announce: (text: string) => void;
}

interface IPointer {
  x: number;
  y: number;
  span: ISpan | null;
}

interface ISize {
  width: number;
  height: number;
  top: number;
}

export function Chart(props: IChartProps): React.JSX.Element {
  const { model, looks, trans } = props;
  const scroller = useRef<HTMLDivElement>(null);
  const canvas = useRef<HTMLCanvasElement>(null);
  const painter = useRef<Painter | null>(null);
  const [size, setSize] = useState<ISize>({ width: 0, height: 0, top: 0 });
  const [pointer, setPointer] = useState<IPointer | null>(null);
  const { lanes } = model;
  const sizes = lanes.map(each => each.rows).join();
  // eslint-disable-next-line react-hooks/exhaustive-deps
  const list = useMemo(() => places(lanes), [lanes, sizes]);
  const height = totalHeight(list);

  useSize(scroller, canvas, setSize, width => model.setWidth(width));
  useEffect(() => {
    const node = canvas.current;
    if (!node || size.width <= 0) {
      return;
    }
    painter.current ??= new Painter(node, looks);
    const frame = requestAnimationFrame(() => {
      const began = performance.now();
      painter.current?.paint(
        {
          places: list,
          window: model.window,
          origin: model.origin,
          ...size,
          selected: model.selected,
          hovered: pointer?.span ?? null,
          now: model.isLive ? model.now : null
        },
        themeOf(node)
      );
      node.dataset.drawn = String(painter.current?.drawn ?? 0);
      node.dataset.milliseconds = (performance.now() - began).toFixed(1);
    });
    return () => cancelAnimationFrame(frame);
  });
  useScrollToSelection(scroller, list, model.selected);
  const drag = useDrag(model, size.width, list, size.top, setPointer);
  const onWheel = useWheel(scroller, model, size.width, height);

  return (
    <div className="jp-nbfn-tl-chart">
      <Axis model={model} width={size.width} onWheel={onWheel} />
      <div
        className="jp-nbfn-tl-scroller"
        ref={scroller}
        tabIndex={0}
        role="application"
        aria-roledescription={trans.__('timeline')}
        aria-label={trans.__(
          'Workers and their inputs. Arrow keys select inputs, plus and minus zoom, Shift and arrow keys move, F selects the next failure.'
        )}
        onScroll={event => {
          const { scrollTop } = event.currentTarget;
          setSize(before => ({ ...before, top: scrollTop }));
        }}
        onKeyDown={event => {
          if (handleKey(props, event)) {
            event.preventDefault();
            event.stopPropagation();
          }
        }}
      >
        <div className="jp-nbfn-tl-content" style={{ height }}>
          <Labels list={list} size={size} trans={trans} />
          <canvas
            ref={canvas}
            className="jp-nbfn-tl-canvas"
            style={{ height: size.height }}
            aria-hidden="true"
            {...drag}
          />
        </div>
      </div>
      {pointer?.span && (
        <Tooltip pointer={pointer} span={pointer.span} trans={trans} />
      )}
    </div>
  );
}

function useSize(
  scroller: React.RefObject<HTMLDivElement>,
  canvas: React.RefObject<HTMLCanvasElement>,
  setSize: React.Dispatch<React.SetStateAction<ISize>>,
  report: (width: number) => void
): void {
  useEffect(() => {
    const node = scroller.current;
    if (!node) {
      return;
    }
    const measure = (): void => {
      const width = canvas.current?.clientWidth ?? 0;
      setSize(before => ({ ...before, width, height: node.clientHeight }));
      report(width);
    };
    const observer = new ResizeObserver(measure);
    observer.observe(node);
    const theme = new MutationObserver(measure); // JupyterLab sets attributes of the body
    theme.observe(document.body, { attributes: true });
    measure();
    return () => {
      observer.disconnect();
      theme.disconnect();
    };
    // eslint-disable-next-line react-hooks/exhaustive-deps
  }, []);
}

function useScrollToSelection(
  scroller: React.RefObject<HTMLDivElement>,
  list: readonly IPlace[],
  selected: ISpan | null
): void {
  useEffect(() => {
    const node = scroller.current;
    const place = list.find(
      each => each.data?.lane.number === selected?.lane.number
    );
    if (!node || !selected || !place) {
      return;
    }
    if (place.top < node.scrollTop) {
      node.scrollTop = place.top;
    } else if (place.top + place.height > node.scrollTop + node.clientHeight) {
      node.scrollTop = place.top + place.height - node.clientHeight;
    }
    // Only when another span is selected: the user may scroll away.
    // eslint-disable-next-line react-hooks/exhaustive-deps
  }, [selected]);
}

type Handlers = Pick<
  React.DOMAttributes<HTMLCanvasElement>,
  | 'onPointerDown'
  | 'onPointerMove'
  | 'onPointerUp'
  | 'onPointerLeave'
  | 'onDoubleClick'
>;

/** A drag moves the time, with Shift it selects a part to zoom to; a click selects a span. */
function useDrag(
  model: TimelineModel,
  width: number,
  list: readonly IPlace[],
  top: number,
  setPointer: (pointer: IPointer | null) => void
): Handlers {
  const from = useRef<{ x: number; last: number; zoom: boolean } | null>(null);
  const moved = useRef(false);
  const find = (event: React.MouseEvent): IPointer => {
    const box = event.currentTarget.getBoundingClientRect();
    const x = event.clientX - box.left;
    const y = event.clientY - box.top;
    const [place] = visiblePlaces(list, y + top, 1);
    const span =
      list.length > 0 && place.data !== null
        ? spanAt(place, x, y + top, model.window, width)
        : null;
    return { x: event.clientX, y: event.clientY, span };
  };
  return {
    onPointerDown: event => {
      if (event.button === 0) {
        const x = event.clientX;
        from.current = { x, last: x, zoom: event.shiftKey };
        moved.current = false;
        event.currentTarget.setPointerCapture(event.pointerId);
      }
    },
    onPointerMove: event => {
      const start = from.current;
      if (!start) {
        setPointer(find(event));
        return;
      }
      moved.current ||= Math.abs(event.clientX - start.x) > 3;
      if (moved.current && !start.zoom) {
        model.pan((start.last - event.clientX) / Math.max(width, 1));
        start.last = event.clientX;
        setPointer(null);
      }
    },
    onPointerUp: event => {
      const start = from.current;
      from.current = null;
      if (!start) {
        return;
      }
      if (!moved.current) {
        model.select(find(event).span);
      } else if (start.zoom) {
        const { left } = event.currentTarget.getBoundingClientRect();
        const times = [start.x, event.clientX]
          .map(x => timeAt(x - left, model.window, width))
          .sort((a, b) => a - b);
        model.setWindow(fitted(times[0], times[1]));
      }
    },
    onPointerLeave: () => setPointer(null),
    onDoubleClick: event => {
      const { span } = find(event);
      if (span) {
        model.zoomTo(span);
      } else {
        model.fit();
      }
    }
  };
}

/** The wheel zooms with Ctrl, over the axis, or where nothing is to be scrolled; to the side it moves the time. */
function useWheel(
  scroller: React.RefObject<HTMLDivElement>,
  model: TimelineModel,
  width: number,
  height: number
): (event: WheelEvent) => void {
  const handle = useCallback(
    (event: WheelEvent): void => {
      const node = scroller.current;
      if (!node) {
        return;
      }
      const overAxis = !node.contains(event.target as Node);
      const scrolls = height > node.clientHeight + 1;
      const sideways = event.shiftKey
        ? event.deltaY || event.deltaX
        : event.deltaX;
      if (event.shiftKey || Math.abs(event.deltaX) > Math.abs(event.deltaY)) {
        model.pan(sideways / Math.max(width, 1));
      } else if (event.ctrlKey || event.metaKey || overAxis || !scrolls) {
        const left =
          node.getBoundingClientRect().left + node.clientWidth - width;
        const centre = timeAt(event.clientX - left, model.window, width);
        model.zoom(Math.exp(event.deltaY * 0.002), centre);
      } else {
        return; // the list scrolls
      }
      event.preventDefault();
    },
    [scroller, model, width, height]
  );
  useEffect(() => {
    // React's handlers are passive and cannot prevent that the page scrolls.
    const node = scroller.current;
    node?.addEventListener('wheel', handle, { passive: false });
    return () => node?.removeEventListener('wheel', handle);
  }, [scroller, handle]);
  return handle;
}

const PAN = 0.2;

/** Whether the key means something here. */
function handleKey(
  { model, trans, announce }: IChartProps,
  event: React.KeyboardEvent
): boolean {
  const select = (span: ISpan | null): void => {
    if (span) {
      model.select(span);
      announce(sentence(span, model.origin, trans));
    } else {
      announce(trans.__('There is none.'));
    }
  };
  if (event.ctrlKey || event.metaKey || event.altKey) {
    return false;
  }
  if (event.shiftKey && event.key.startsWith('Arrow')) {
    const shift = { ArrowLeft: -PAN, ArrowRight: PAN }[event.key];
    if (shift !== undefined) {
      model.pan(shift);
    }
    return shift !== undefined;
  }
  const actions: Partial<Record<string, () => void>> = {
    ArrowLeft: () => select(model.neighbour(-1)),
    ArrowRight: () => select(model.neighbour(1)),
    ArrowUp: () => select(model.inNextLane(-1)),
    ArrowDown: () => select(model.inNextLane(1)),
    '+': () => model.zoom(0.5, centreOf(model)),
    '=': () => model.zoom(0.5, centreOf(model)),
    '-': () => model.zoom(2, centreOf(model)),
    f: () => select(model.nextFailure()),
    Home: () => model.fit(),
    End: () => model.setFollow(true),
    Enter: () => {
      if (model.selected) {
        model.zoomTo(model.selected);
      }
    },
    Escape: () => model.select(null)
  };
  const action = actions[event.key];
  action?.();
  return action !== undefined;
}

function centreOf(model: TimelineModel): number | undefined {
  const { selected } = model;
  return selected ? (selected.started + selected.ended) / 2 : undefined;
}

function Axis(props: {
  model: TimelineModel;
  width: number;
  onWheel: (event: WheelEvent) => void;
}): React.JSX.Element {
  const { model, width, onWheel } = props;
  const node = useRef<HTMLDivElement>(null);
  useEffect(() => {
    const target = node.current;
    target?.addEventListener('wheel', onWheel, { passive: false });
    return () => target?.removeEventListener('wheel', onWheel);
  }, [onWheel]);
  return (
    <div
      className="jp-nbfn-tl-axis"
      ref={node}
      style={{ height: AXIS }}
      aria-hidden="true"
      title={offset(model.window.end - model.window.start, 0.1)}
    >
      <div className="jp-nbfn-tl-ticks" style={{ width }}>
        {width > 0 &&
          ticks(model.window, width, model.origin).map(tick => (
            <span
              key={tick.time}
              style={{ left: xOf(tick.time, model.window, width) }}
            >
              {tick.label}
            </span>
          ))}
      </div>
    </div>
  );
}

function Labels(props: {
  list: readonly IPlace[];
  size: ISize;
  trans: TranslationBundle;
}): React.JSX.Element {
  const { list, size, trans } = props;
  return (
    <div className="jp-nbfn-tl-labels" aria-hidden="true">
      {visiblePlaces(list, size.top, Math.max(size.height, 1)).map(place =>
        place.data ? (
          <div
            key={place.data.lane.number}
            className="jp-nbfn-tl-label"
            style={{ top: place.top, height: place.height }}
            title={laneTitle(place, trans)}
          >
            <span>{shortWorker(place.data.lane.worker)}</span>
            {place.data.lane.lost ? (
              <span className="jp-nbfn-tl-lost">✕ {trans.__('lost')}</span>
            ) : (
              <span className="jp-nbfn-tl-of">{place.data.lane.name}</span>
            )}
          </div>
        ) : (
          <div
            key={`host ${place.host}`}
            className="jp-nbfn-tl-host"
            style={{ top: place.top, height: place.height }}
          >
            {place.host || trans.__('this machine')}
          </div>
        )
      )}
    </div>
  );
}

function laneTitle(place: IPlace, trans: TranslationBundle): string {
  const lane = place.data?.lane;
  if (!lane) {
    return '';
  }
  const how = lane.ended ? lane.how || trans.__('ended') : trans.__('running');
  return `${lane.worker} · ${trans.__('process %1', lane.pid)} · ${lane.app}/${lane.name} · ${how}`;
}

function Tooltip(props: {
  pointer: IPointer;
  span: ISpan;
  trans: TranslationBundle;
}): React.JSX.Element {
  const { pointer, span, trans } = props;
  const right = pointer.x > window.innerWidth - 280;
  return (
    <div
      className="jp-nbfn-tl-tooltip"
      aria-hidden="true"
      style={{
        left: right ? pointer.x - 268 : pointer.x + 12,
        top: Math.min(pointer.y + 14, window.innerHeight - 90)
      }}
    >
      {sentence(span, null, trans)}
    </div>
  );
}
