/** The way of a shipment, cut where it is. Pure. */

import { distanceM } from './geo.ts';
import type { LonLat } from './model.ts';

export interface Cut {
  readonly driven: readonly LonLat[];
  readonly at: LonLat;
  readonly rest: readonly LonLat[];
}

/** Cut a line at a part of its length, 0 to 1; `at` is in both parts. A line has a point at least. */
export function cut(line: readonly LonLat[], part: number): Cut {
  const lengths_m = line.slice(1).map((to, i) => distanceM(...(line[i] as LonLat), ...to));
  let left_m = lengths_m.reduce((sum, length_m) => sum + length_m, 0) * Math.max(0, Math.min(1, part));
  for (const [i, length_m] of lengths_m.entries()) {
    if (left_m <= length_m) {
      const at = between(line[i] as LonLat, line[i + 1] as LonLat, length_m === 0 ? 0 : left_m / length_m);
      return { driven: [...line.slice(0, i + 1), at], at, rest: [at, ...line.slice(i + 1)] };
    }
    left_m -= length_m;
  }
  const at = line.at(-1) as LonLat;
  return { driven: line, at, rest: [at] };
}

/** A way in two parts; `planned` where there is a line that somebody planned. */
export interface Way {
  readonly driven: readonly LonLat[];
  readonly rest: readonly LonLat[];
  readonly planned: boolean;
}

/** From one stop straight to the next, those behind it first, by way of where it is. */
export function straight(behind: readonly LonLat[], ahead: readonly LonLat[], here: LonLat | null): Way {
  const between = behind.length > 0 && ahead.length > 0 ? here : null;
  if (between !== null) return { driven: [...behind, between], rest: [between, ...ahead], planned: false };
  return { driven: behind, rest: [...behind.slice(-1), ...ahead], planned: false };
}

// Points of a planned way are so near that the plane serves; over the date line the short way.
function between(from: LonLat, to: LonLat, part: number): LonLat {
  const across = ((to[0] - from[0] + 540) % 360) - 180;
  return [from[0] + across * part, from[1] + (to[1] - from[1]) * part];
}
