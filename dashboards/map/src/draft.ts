/** A fence's shape while it is drawn or changed. Pure. */

import { distanceM } from './geo.ts';
import { linesOf } from './ground.ts';
import type { FenceShape, LonLat } from './model.ts';

export type DraftKind = 'polygon' | 'circle' | 'corridor';
/** One point of a draft: the part it is in, and its place there. */
export interface Grip {
  readonly part: number;
  readonly point: number;
}

const LEAST: Readonly<Record<DraftKind, number>> = { polygon: 3, circle: 1, corridor: 2 };
const DEFAULT_WIDTH_M = 60;

/**
 * Parts are rings without their closing point, or lines; a circle has one part of one point.
 *
 * `rings` says how many parts make each polygon, its outer ring first.
 */
export class Draft {
  parts: LonLat[][] = [[]];
  radius_m = 0;
  width_m = DEFAULT_WIDTH_M;
  private rings: number[] = [1];

  constructor(readonly kind: DraftKind) {}

  /** A draft that begins as this shape; null for cells, which are chosen elsewhere. */
  static of(shape: FenceShape): Draft | null {
    if (shape.type === 'Cells') return null;
    if (shape.type === 'Circle') {
      const draft = new Draft('circle');
      draft.parts = [[[...shape.center]]];
      draft.radius_m = shape.radius_m;
      return draft;
    }
    if (shape.type === 'Corridor') {
      const draft = new Draft('corridor');
      draft.parts = linesOf(shape.coordinates).map(copied);
      draft.width_m = shape.width_m;
      return draft;
    }
    const draft = new Draft('polygon');
    const polygons = shape.type === 'Polygon' ? [shape.coordinates] : shape.coordinates;
    draft.parts = polygons.flatMap((rings) => rings.map((ring) => copied(ring.slice(0, -1))));
    draft.rings = polygons.map((rings) => rings.length);
    return draft;
  }

  get complete(): boolean {
    const enough = this.parts.every((part) => part.length >= LEAST[this.kind]);
    return enough && (this.kind !== 'circle' || this.radius_m > 0);
  }

  /** What it would be saved as; null until there are enough points. */
  shape(): FenceShape | null {
    if (!this.complete) return null;
    switch (this.kind) {
      case 'circle': return { type: 'Circle', center: rounded(this.parts[0]![0]!), radius_m: Math.round(this.radius_m * 10) / 10 };
      case 'corridor': return this.corridor();
      case 'polygon': return this.polygon();
    }
  }

  private corridor(): FenceShape {
    const lines = this.parts.map((line) => line.map(rounded));
    return { type: 'Corridor', coordinates: lines.length === 1 ? lines[0]! : lines, width_m: this.width_m };
  }

  private polygon(): FenceShape {
    const rings = this.parts.map((ring) => [...ring.map(rounded), rounded(ring[0]!)]);
    let next = 0;
    const polygons = this.rings.map((count) => rings.slice(next, (next += count)));
    return polygons.length === 1
      ? { type: 'Polygon', coordinates: polygons[0]! } : { type: 'MultiPolygon', coordinates: polygons };
  }

  add(at: LonLat): void {
    if (this.kind === 'circle') this.parts = [[at]];
    else this.parts.at(-1)!.push(at);
  }

  /** Take back the last point; false when there is none. */
  undo(): boolean {
    return this.parts.at(-1)!.pop() !== undefined;
  }

  move({ part, point }: Grip, to: LonLat): void {
    this.parts[part]![point] = to;
  }

  /** A new point after this one; answers its grip. */
  insertAfter({ part, point }: Grip, at: LonLat): Grip {
    this.parts[part]!.splice(point + 1, 0, at);
    return { part, point: point + 1 };
  }

  /** Without this point, unless too few would be left. */
  remove({ part, point }: Grip): void {
    if (this.parts[part]!.length > LEAST[this.kind]) this.parts[part]!.splice(point, 1);
  }

  /** Make the circle's rim run through this place. */
  reach(rim: LonLat): void {
    const center = this.parts[0]?.[0];
    if (center !== undefined) this.radius_m = distanceM(...center, ...rim);
  }

  /** Points in the middle of each edge, by the grip before them. */
  middles(): { grip: Grip; at: LonLat }[] {
    if (this.kind === 'circle') return [];
    return this.parts.flatMap((line, part) => line.flatMap((from, point) => {
      const to = line[point + 1] ?? (this.kind === 'polygon' ? line[0] : undefined);
      return to === undefined ? [] : [{ grip: { part, point }, at: [(from[0] + to[0]) / 2, (from[1] + to[1]) / 2] as LonLat }];
    }));
  }
}

function copied(line: readonly LonLat[]): LonLat[] {
  return line.map(([lon, lat]) => [lon, lat]);
}

// 0.1 m or finer, as fine as a screen shows.
function rounded([lon, lat]: LonLat): LonLat {
  return [Number(lon.toFixed(6)), Number(lat.toFixed(6))];
}
