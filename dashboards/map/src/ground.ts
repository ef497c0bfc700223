/**
 * The ground of fences as polygons a map can draw, and questions about them.
 *
 * Pure. Corridors and cells need libraries that most pages never load: `Ground.ready` fetches them
 * when the first such fence is met, `outline` is immediate from then on.
 */

import type { FenceShape, LonLat } from './model.ts';

export type Outline = GeoJSON.Polygon | GeoJSON.MultiPolygon;
/** West, south, east, north in degrees; east exceeds 180 where the antimeridian lies between. */
export type Box = readonly [west: number, south: number, east: number, north: number];

type Clipper = typeof import('clipper2-ts');
type H3 = typeof import('h3-js');

const RADIANS = Math.PI / 180;
const MAX_LAT = 85.051129;
// WGS 84.
const EQUATOR_M = 6_378_137;
const E2 = 0.006_694_379_990_14;
// A circle of 100 m is then at most 12 cm off.
const CIRCLE_POINTS = 64;
// Within a band of this height at 60 degrees of latitude the width of a corridor varies by 0.8 %.
const BAND_DEG = 0.5;
// Off by that share of a corridor's half width at most, on its round ends and bends.
const ARC_ERROR = 0.01;

export class Ground {
  private clipper: Clipper | null = null;
  private h3: H3 | null = null;

  /** Resolves when all of these can be outlined. */
  async ready(shapes: readonly FenceShape[]): Promise<void> {
    if (this.clipper === null && shapes.some((shape) => shape.type === 'Corridor')) this.clipper = await import('clipper2-ts');
    if (this.h3 === null && shapes.some((shape) => shape.type === 'Cells')) this.h3 = await import('h3-js');
  }

  /** The shape as polygons. Throws for one that was not made `ready`. */
  outline(shape: FenceShape): Outline {
    switch (shape.type) {
      case 'Circle': return { type: 'Polygon', coordinates: [circle(shape.center, shape.radius_m)] };
      case 'Corridor': return corridor(this.clipper!, linesOf(shape.coordinates), shape.width_m / 2);
      case 'Cells': return cells(this.h3!, shape.cells);
      default: return shape as unknown as Outline;
    }
  }
}

export function linesOf(coordinates: readonly LonLat[] | readonly (readonly LonLat[])[]): readonly (readonly LonLat[])[] {
  const nested = Array.isArray(coordinates[0]?.[0]);
  return nested ? (coordinates as readonly (readonly LonLat[])[]) : [coordinates as readonly LonLat[]];
}

/** A closed ring around all places within `radius_m` of the centre, over ground. */
export function circle([lon, lat]: LonLat, radius_m: number): LonLat[] {
  const sin = Math.sin(lat * RADIANS);
  const w = 1 - E2 * sin * sin;
  const meridian_m = (EQUATOR_M * (1 - E2)) / w ** 1.5;
  const normal_m = EQUATOR_M / Math.sqrt(w);
  const ring: LonLat[] = [];
  for (let i = 0; i <= CIRCLE_POINTS; i += 1) {
    const azimuth = Math.PI + (2 * Math.PI * i) / CIRCLE_POINTS;
    // Euler: the radius of curvature in this direction.
    const curvature_m = 1 / (Math.cos(azimuth) ** 2 / meridian_m + Math.sin(azimuth) ** 2 / normal_m);
    const arc = radius_m / curvature_m;
    const to = Math.asin(sin * Math.cos(arc) + Math.cos(lat * RADIANS) * Math.sin(arc) * Math.cos(azimuth));
    const east = Math.atan2(
      Math.sin(azimuth) * Math.sin(arc) * Math.cos(lat * RADIANS), Math.cos(arc) - sin * Math.sin(to),
    );
    const last = ring.at(-1)?.[0] ?? lon;
    ring.push([near(lon + east / RADIANS, last), to / RADIANS]);
  }
  return overPole(ring, lat);
}

// A ring that goes all the way round a pole is closed over it.
function overPole(ring: LonLat[], lat: number): LonLat[] {
  const first = ring[0]!;
  const last = ring.at(-1)!;
  if (Math.abs(last[0] - first[0]) < 180) return [...ring.slice(0, -1), first];
  const pole = lat > 0 ? 90 : -90;
  return [...ring, [last[0], pole], [first[0], pole], first];
}

function near(lon: number, other: number): number {
  return lon + 360 * Math.round((other - lon) / 360);
}

function corridor(clipper: Clipper, lines: readonly (readonly LonLat[])[], half_m: number): Outline {
  const { Clipper: ops, JoinType, EndType, FillRule, PointInPolygonResult } = clipper;
  const bands = lines.flatMap((line) => inBands(line)).map((band) => {
    const lat = (Math.min(...band.map((at) => at[1])) + Math.max(...band.map((at) => at[1]))) / 2;
    const scaled_m = half_m / Math.cos(lat * RADIANS);
    const path = band.map(toPlane);
    return ops.inflatePathsD([path], scaled_m, JoinType.Round, EndType.Round, 2, 2, scaled_m * ARC_ERROR);
  });
  // Of a union, Clipper turns outer rings and holes in opposite directions.
  const rings = ops.unionD(bands.flat(), FillRule.NonZero);
  const outer = rings.filter((ring) => ops.areaD(ring) > 0);
  const holes = rings.filter((ring) => ops.areaD(ring) < 0);
  const polygons = outer.map((ring) => [
    ring, ...holes.filter((hole) => ops.pointInPolygonD(hole[0]!, ring, 2) !== PointInPolygonResult.IsOutside),
  ].map((each) => closed(each.map(fromPlane))));
  return polygons.length === 1 ? { type: 'Polygon', coordinates: polygons[0]! } : { type: 'MultiPolygon', coordinates: polygons };
}

/** The line in pieces, each in a low band of latitude, the end of one the start of the next. */
function inBands(line: readonly LonLat[]): LonLat[][] {
  const pieces: LonLat[][] = [[]];
  let low = Infinity;
  let high = -Infinity;
  for (const at of densified(line)) {
    [low, high] = [Math.min(low, at[1]), Math.max(high, at[1])];
    pieces.at(-1)!.push(at);
    if (high - low <= BAND_DEG) continue;
    pieces.push([at]);
    [low, high] = [at[1], at[1]];
  }
  return pieces.filter((piece, i) => piece.length > 1 || i === 0);
}

function densified(line: readonly LonLat[]): LonLat[] {
  return line.flatMap((to, i) => {
    const from = line[i - 1] ?? to;
    const lon = near(to[0], from[0]);
    const steps = Math.max(1, Math.ceil(Math.abs(to[1] - from[1]) / BAND_DEG));
    return Array.from({ length: steps }, (_, k): LonLat => [
      from[0] + ((lon - from[0]) * (k + 1)) / steps, from[1] + ((to[1] - from[1]) * (k + 1)) / steps,
    ]);
  });
}

// Mercator in metres at the equator: angles are true, so a width is one there too, times its scale.
function toPlane([lon, lat]: LonLat): { x: number; y: number } {
  const held = Math.max(-MAX_LAT, Math.min(MAX_LAT, lat));
  return { x: lon * RADIANS * EQUATOR_M, y: Math.log(Math.tan(Math.PI / 4 + (held * RADIANS) / 2)) * EQUATOR_M };
}

function fromPlane({ x, y }: { x: number; y: number }): LonLat {
  return [x / EQUATOR_M / RADIANS, (2 * Math.atan(Math.exp(y / EQUATOR_M)) - Math.PI / 2) / RADIANS];
}

function closed(ring: LonLat[]): LonLat[] {
  return [...ring, ring[0]!];
}

// Each resolution by itself: the library outlines cells of one resolution only.
function cells(h3: H3, indexes: readonly string[]): Outline {
  const sorted = new Map<number, string[]>();
  for (const index of indexes) {
    const resolution = h3.getResolution(index);
    sorted.set(resolution, [...(sorted.get(resolution) ?? []), index]);
  }
  const coordinates = [...sorted.values()].flatMap((same) => h3.cellsToMultiPolygon(same, true)) as unknown as LonLat[][][];
  return { type: 'MultiPolygon', coordinates: coordinates.map((rings) => rings.map(unwrapped)) };
}

function unwrapped(ring: readonly LonLat[]): LonLat[] {
  let last = ring[0]?.[0] ?? 0;
  return ring.map(([lon, lat]) => [(last = near(lon, last)), lat]);
}

export function polygonsOf(outline: Outline): GeoJSON.Position[][][] {
  return outline.type === 'Polygon' ? [outline.coordinates] : outline.coordinates;
}

export function boxOf(outline: Outline): Box {
  let [west, south, east, north] = [Infinity, Infinity, -Infinity, -Infinity];
  for (const [ring] of polygonsOf(outline)) {
    for (const [lon = 0, lat = 0] of ring ?? []) {
      [west, east] = [Math.min(west, lon), Math.max(east, lon)];
      [south, north] = [Math.min(south, lat), Math.max(north, lat)];
    }
  }
  return [west, south, east, north];
}

/** A place inside, near the middle, for a name: half-way along the widest cut at mid-height of the largest part. */
export function middleOf(outline: Outline): LonLat {
  const wide = (rings: GeoJSON.Position[][]): number => {
    const box = boxOf({ type: 'Polygon', coordinates: rings });
    return (box[2] - box[0]) * (box[3] - box[1]);
  };
  const rings = polygonsOf(outline).reduce((a, b) => (wide(b) > wide(a) ? b : a));
  const box = boxOf({ type: 'Polygon', coordinates: rings });
  const lat = (box[1] + box[3]) / 2;
  const cuts: number[] = [];
  for (const ring of rings) {
    for (let i = 1; i < ring.length; i += 1) {
      const [x0 = 0, y0 = 0] = ring[i - 1]!;
      const [x1 = 0, y1 = 0] = ring[i]!;
      if (y0 > lat !== y1 > lat) cuts.push(x0 + ((lat - y0) / (y1 - y0)) * (x1 - x0));
    }
  }
  cuts.sort((a, b) => a - b);
  let best: [number, number] = [box[0], box[2]];
  for (let i = 0; i + 1 < cuts.length; i += 2) {
    if (i === 0 || cuts[i + 1]! - cuts[i]! > best[1] - best[0]) best = [cuts[i]!, cuts[i + 1]!];
  }
  return [(best[0] + best[1]) / 2, lat];
}
