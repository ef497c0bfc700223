/** The fences the page knows, and which parts of the Earth it knows them of. Pure; times come in. */

import { boxOf, middleOf, type Box, type Outline } from './ground.ts';
import type { Fence, LonLat } from './model.ts';

// A fence that somebody else made and nobody enters is seen after this long at the latest.
const GOOD_FOR_MS = 5 * 60_000;
// About 60 MB of outlines. Past it the page forgets what is out of view.
const MAX_FENCES = 30_000;

/** A fence as drawn. */
export interface Site {
  readonly fence: Fence;
  readonly outline: Outline;
  readonly box: Box;
  readonly middle: LonLat;
}

export function siteOf(fence: Fence, outline: Outline): Site {
  return { fence, outline, box: boxOf(outline), middle: middleOf(outline) };
}

export interface Changes {
  readonly put: readonly Site[];
  readonly drop: readonly string[];
}

interface Known {
  readonly box: Box;
  readonly since_ms: number;
}

export class FenceBook {
  readonly sites = new Map<string, Site>();
  private known: Known[] = [];

  /** Whether all fences of the box were read not long ago. */
  knows(box: Box, now_ms: number): boolean {
    this.known = this.known.filter((part) => now_ms - part.since_ms < GOOD_FOR_MS);
    return this.known.some((part) => within(box, part.box));
  }

  /** Read everything anew at the next move. */
  forgetPlaces(): void {
    this.known = [];
  }

  /** Take in a fence unless a later version of it is known; a deleted one is dropped. */
  put(site: Site): Changes {
    const { fence } = site;
    const had = this.sites.get(fence.id);
    if (had !== undefined && had.fence.version > fence.version) return { put: [], drop: [] };
    if (fence.deleted_at != null) return this.drop(fence.id);
    this.sites.set(fence.id, site);
    return had?.fence.version === fence.version ? { put: [], drop: [] } : { put: [site], drop: [] };
  }

  drop(id: string): Changes {
    return { put: [], drop: this.sites.delete(id) ? [id] : [] };
  }

  /** All fences of `box` were read, `seen` being their ids: the others that lie in it are gone. */
  settle(box: Box, seen: ReadonlySet<string>, now_ms: number): Changes {
    this.known.push({ box, since_ms: now_ms });
    const drop = [...this.sites.values()].filter((site) => within(site.box, box) && !seen.has(site.fence.id));
    if (this.sites.size - drop.length > MAX_FENCES) {
      this.known = this.known.slice(-1);
      drop.push(...[...this.sites.values()].filter((site) => !seen.has(site.fence.id)));
    }
    const gone = [...new Set(drop.map((site) => site.fence.id))];
    for (const id of gone) this.sites.delete(id);
    return { put: [], drop: gone };
  }
}

function within(box: Box, other: Box): boolean {
  return box[0] >= other[0] && box[1] >= other[1] && box[2] <= other[2] && box[3] <= other[3];
}

/** The box and half as much again on each side, held to the Earth, so that small moves need no reading. */
export function padded([west, south, east, north]: Box): Box {
  const x = (east - west) / 2;
  const y = (north - south) / 2;
  return [Math.max(-180, west - x), Math.max(-90, south - y), Math.min(180, east + x), Math.min(90, north + y)];
}
