/** Draws the timeline on a canvas. Functions differ in colour and texture, outcomes in colour, mark and outline. */
import {
  boxes,
  ticks,
  visiblePlaces,
  xOf,
  type IBox,
  type IPlace
} from './layout';
import type { ILaneData, ISpan, IWindow, Outcome } from './types';

/** Colours that can be told apart without red and green (Okabe and Ito), on light and dark grounds. */
export const PALETTE = [
  '#3a87c8',
  '#e69f00',
  '#1fa187',
  '#cc79a7',
  '#8a7fd6',
  '#56b4e9',
  '#b8a100'
];

export const TEXTURES = [
  'plain',
  'rising',
  'dots',
  'upright',
  'falling'
] as const;
export type Texture = (typeof TEXTURES)[number];

/** How a Function is drawn. */
export interface ILook {
  colour: string;
  texture: Texture;
}

/** Gives each Function a look, in the order in which they appear. */
export class Looks {
  of(functionId: string): ILook {
    let number = this._numbers.get(functionId);
    if (number === undefined) {
      number = this._numbers.size;
      this._numbers.set(functionId, number);
    }
    return {
      colour: PALETTE[number % PALETTE.length],
      texture: TEXTURES[number % TEXTURES.length]
    };
  }

  private readonly _numbers = new Map<string, number>();
}

/** The theme's colours; a canvas does not follow the style sheet. */
export interface ITheme {
  ground: string;
  band: string;
  line: string;
  text: string;
  muted: string;
  failed: string;
  focus: string;
}

export function themeOf(element: HTMLElement): ITheme {
  const style = getComputedStyle(element);
  const pick = (name: string, other: string): string =>
    style.getPropertyValue(name).trim() || other;
  return {
    ground: pick('--jp-layout-color1', '#fff'),
    band: pick('--jp-layout-color2', '#eee'),
    line: pick('--jp-border-color2', '#ccc'),
    text: pick('--jp-ui-font-color1', '#222'),
    muted: pick('--jp-ui-font-color2', '#666'),
    failed: pick('--jp-error-color1', '#d32f2f'),
    focus: pick('--jp-brand-color1', '#1976d2')
  };
}

/** What is drawn. */
export interface IScene {
  places: readonly IPlace[];
  window: IWindow;
  origin: number;
  width: number;
  height: number;
  /** How far the list of lanes is scrolled. */
  top: number;
  selected: ISpan | null;
  hovered: ISpan | null;
  /** The time of the present, if it is to be marked. */
  now: number | null;
}

export class Painter {
  constructor(canvas: HTMLCanvasElement, looks: Looks) {
    this._canvas = canvas;
    this._looks = looks;
  }

  /** The number of rectangles drawn last. */
  get drawn(): number {
    return this._drawn;
  }

  paint(scene: IScene, theme: ITheme): void {
    const ratio = window.devicePixelRatio || 1;
    const { _canvas: canvas } = this;
    const width = Math.round(scene.width * ratio);
    const height = Math.round(scene.height * ratio);
    if (canvas.width !== width || canvas.height !== height) {
      canvas.width = width;
      canvas.height = height;
    }
    const pen = canvas.getContext('2d');
    if (!pen) {
      return;
    }
    if (theme.ground !== this._ground) {
      this._ground = theme.ground;
      this._patterns.clear();
    }
    pen.setTransform(ratio, 0, 0, ratio, 0, 0);
    pen.fillStyle = theme.ground;
    pen.fillRect(0, 0, scene.width, scene.height);
    pen.save();
    pen.translate(0, -scene.top);
    this._drawn = 0;
    this._grid(pen, scene, theme);
    for (const place of visiblePlaces(scene.places, scene.top, scene.height)) {
      this._place(pen, place, scene, theme);
    }
    this._present(pen, scene, theme);
    pen.restore();
  }

  private _grid(
    pen: CanvasRenderingContext2D,
    scene: IScene,
    theme: ITheme
  ): void {
    pen.fillStyle = theme.line;
    for (const tick of ticks(scene.window, scene.width, scene.origin)) {
      const x = Math.round(xOf(tick.time, scene.window, scene.width));
      pen.fillRect(x, scene.top, 1, scene.height);
    }
  }

  private _place(
    pen: CanvasRenderingContext2D,
    place: IPlace,
    scene: IScene,
    theme: ITheme
  ): void {
    if (!place.data) {
      pen.fillStyle = theme.band;
      pen.fillRect(0, place.top, scene.width, place.height);
      return;
    }
    this._life(pen, place, place.data, scene, theme);
    const found = boxes(place, scene.window, scene.width);
    this._drawn += found.length;
    for (const box of found) {
      this._box(pen, box, theme);
    }
    for (const box of found) {
      if (box.failed > 0) {
        cross(pen, box, theme);
      }
    }
    this._outline(pen, place, scene, theme);
    pen.fillStyle = theme.line;
    pen.fillRect(0, place.top + place.height - 1, scene.width, 1);
  }

  /** The start of a worker is striped, and where it was lost there is a thick line with a cross. */
  private _life(
    pen: CanvasRenderingContext2D,
    place: IPlace,
    data: ILaneData,
    scene: IScene,
    theme: ITheme
  ): void {
    const { lane } = data;
    const x = (time: number): number => xOf(time, scene.window, scene.width);
    const clamp = (value: number): number =>
      Math.min(scene.width + 1, Math.max(-1, value));
    const begun = lane.cold && lane.asked ? lane.asked : lane.bound;
    const left = clamp(x(begun || scene.window.start));
    const right = clamp(lane.ended ? x(lane.ended) : scene.width + 1);
    pen.fillStyle = theme.band;
    pen.globalAlpha = 0.5;
    pen.fillRect(left, place.top + 3, right - left, place.height - 6);
    pen.globalAlpha = 1;
    const loaded = clamp(lane.loaded ? x(lane.loaded) : right);
    if (loaded > left) {
      pen.fillStyle = this._pattern(pen, theme.muted, 'starting');
      pen.fillRect(
        left,
        place.top + 3,
        Math.max(loaded - left, 1),
        place.height - 6
      );
    }
    if (lane.ended && right > 0 && right < scene.width) {
      pen.fillStyle = lane.lost ? theme.failed : theme.muted;
      pen.fillRect(
        right - 1,
        place.top + 1,
        lane.lost ? 3 : 1,
        place.height - 2
      );
    }
  }

  private _box(pen: CanvasRenderingContext2D, box: IBox, theme: ITheme): void {
    const call = box.span?.call ?? box.bin?.call;
    if (!call) {
      return;
    }
    const look = this._looks.of(call.function);
    const outcome: Outcome = box.span?.outcome ?? 'succeeded';
    if (box.bin) {
      pen.globalAlpha = 1;
      pen.fillStyle = look.colour;
      const height = Math.max(box.height * box.load, 1);
      pen.fillRect(box.x, box.top + box.height - height, box.width, height);
      return;
    }
    pen.globalAlpha = 0.35 + 0.65 * box.load;
    pen.fillStyle =
      outcome === 'cancelled'
        ? this._pattern(pen, theme.muted, 'cancelled')
        : this._pattern(pen, look.colour, look.texture);
    pen.fillRect(box.x, box.top, box.width, box.height);
    pen.globalAlpha = 1;
    if (outcome === 'running' && box.width > 3) {
      pen.strokeStyle = look.colour;
      pen.setLineDash([3, 2]);
      pen.strokeRect(box.x + 0.5, box.top + 0.5, box.width - 1, box.height - 1);
      pen.setLineDash([]);
    } else if (box.width > 4) {
      pen.fillStyle = theme.ground;
      pen.fillRect(box.x + box.width - 0.75, box.top, 0.75, box.height);
    }
  }

  private _outline(
    pen: CanvasRenderingContext2D,
    place: IPlace,
    scene: IScene,
    theme: ITheme
  ): void {
    for (const [span, thickness] of [
      [scene.hovered, 1],
      [scene.selected, 2]
    ] as const) {
      if (span && place.data && span.lane.number === place.data.lane.number) {
        const height = (place.height - 6) / place.data.rows;
        const x = xOf(span.started, scene.window, scene.width);
        const width = xOf(span.ended, scene.window, scene.width) - x;
        pen.lineWidth = thickness;
        pen.strokeStyle = thickness > 1 ? theme.focus : theme.text;
        pen.strokeRect(
          x - thickness,
          place.top + 3 + span.row * height - thickness,
          Math.max(width, 2) + 2 * thickness,
          height + 2 * thickness
        );
        pen.lineWidth = 1;
      }
    }
  }

  private _present(
    pen: CanvasRenderingContext2D,
    scene: IScene,
    theme: ITheme
  ): void {
    if (scene.now !== null) {
      pen.fillStyle = theme.focus;
      pen.fillRect(
        xOf(scene.now, scene.window, scene.width),
        scene.top,
        1,
        scene.height
      );
    }
  }

  private _pattern(
    pen: CanvasRenderingContext2D,
    colour: string,
    texture: Texture | 'starting' | 'cancelled'
  ): CanvasPattern | string {
    const key = `${colour} ${texture}`;
    const known = this._patterns.get(key);
    if (known !== undefined) {
      return known;
    }
    const tile = textureTile(colour, texture, this._ground);
    const made = (tile && pen.createPattern(tile, 'repeat')) ?? colour;
    this._patterns.set(key, made);
    return made;
  }

  private readonly _canvas: HTMLCanvasElement;
  private readonly _looks: Looks;
  private readonly _patterns = new Map<string, CanvasPattern | string>();
  private _ground = '';
  private _drawn = 0;
}

/** A small picture that is repeated; null where there is no canvas. */
export function textureTile(
  colour: string,
  texture: Texture | 'starting' | 'cancelled',
  ground: string
): HTMLCanvasElement | null {
  const tile = document.createElement('canvas');
  tile.width = tile.height = 8;
  const pen = tile.getContext('2d');
  if (!pen) {
    return null;
  }
  const open = texture === 'starting' || texture === 'cancelled';
  pen.fillStyle = open ? ground : colour;
  pen.fillRect(0, 0, 8, 8);
  pen.strokeStyle = pen.fillStyle = open ? colour : ground;
  pen.globalAlpha = open ? 0.8 : 0.45;
  pen.lineWidth = open ? 1 : 1.4;
  pen.beginPath();
  const lines: Record<string, number[][]> = {
    rising: [
      [-2, 6, 6, -2],
      [2, 10, 10, 2]
    ],
    starting: [
      [-2, 6, 6, -2],
      [2, 10, 10, 2]
    ],
    falling: [
      [-2, 2, 6, 10],
      [2, -2, 10, 6]
    ],
    upright: [[4, 0, 4, 8]],
    cancelled: [
      [-2, 6, 6, -2],
      [2, 10, 10, 2],
      [-2, 2, 6, 10],
      [2, -2, 10, 6]
    ]
  };
  for (const [x1, y1, x2, y2] of lines[texture] ?? []) {
    pen.moveTo(x1, y1);
    pen.lineTo(x2, y2);
  }
  pen.stroke();
  if (texture === 'dots') {
    pen.fillRect(2, 2, 2, 2);
    pen.fillRect(6, 6, 2, 2);
  }
  return tile;
}

/** A failure: an outline, and a cross that is visible however narrow the box is. */
function cross(pen: CanvasRenderingContext2D, box: IBox, theme: ITheme): void {
  pen.strokeStyle = theme.failed;
  pen.fillStyle = theme.failed;
  pen.lineWidth = 1.5;
  if (box.width > 6) {
    pen.strokeRect(
      box.x + 0.75,
      box.top + 0.75,
      box.width - 1.5,
      box.height - 1.5
    );
  } else {
    pen.fillRect(box.x, box.top, Math.max(box.width, 2), box.height);
  }
  const size = Math.min(4, box.height / 3);
  const x = box.x + box.width - (box.width > 12 ? size + 3 : box.width / 2);
  const y = box.top + box.height / 2;
  pen.lineWidth = 4.5;
  pen.strokeStyle = theme.ground;
  stroke(pen, x, y, size);
  pen.lineWidth = 2;
  pen.strokeStyle = theme.failed;
  stroke(pen, x, y, size);
  pen.lineWidth = 1;
}

function stroke(
  pen: CanvasRenderingContext2D,
  x: number,
  y: number,
  size: number
): void {
  pen.beginPath();
  pen.moveTo(x - size, y - size);
  pen.lineTo(x + size, y + size);
  pen.moveTo(x + size, y - size);
  pen.lineTo(x - size, y + size);
  pen.stroke();
}
