/** The REST API, as far as the map needs it. Every call carries the key in a header and times out. */

import type { DeviceSummary, WaymarkEvent } from './model.ts';

const TIMEOUT_MS = 15_000;
const TRAIL_POINTS = 20_000;
const PAGE = 1000;
const TRAIL_PAGE = 10_000;

/** An answer other than 2xx; `message` is fit to be shown. */
export class ApiError extends Error {
  constructor(readonly status: number, message: string) {
    super(message);
  }
}

interface Page<T> {
  readonly items: readonly T[];
  readonly next: string | null;
}

export type LonLat = [lon: number, lat: number];
/** One stored fix of a trail, oldest first. */
export interface TrailPoint {
  readonly at: LonLat;
  readonly fix_ms: number;
}

export class Api {
  constructor(private readonly key: string) {}

  async mapStyleUrl(): Promise<string | null> {
    const config = await this.get<{ style_url?: string | null }>('map/config');
    return config.style_url ?? null;
  }

  async devices(): Promise<DeviceSummary[]> {
    const all: DeviceSummary[] = [];
    let cursor: string | null = null;
    do {
      const more: string = cursor === null ? '' : `&cursor=${encodeURIComponent(cursor)}`;
      const page: Page<DeviceSummary> = await this.get(`devices?limit=${PAGE}${more}`);
      all.push(...page.items);
      cursor = page.next;
    } while (cursor !== null);
    return all;
  }

  device(name: string): Promise<DeviceSummary> {
    return this.get(`devices/${encodeURIComponent(name)}`);
  }

  async recentEvents(limit: number): Promise<readonly WaymarkEvent[]> {
    return (await this.get<Page<WaymarkEvent>>(`events?limit=${limit}&order=desc`)).items;
  }

  /** The ok fixes of a device from `from` on, oldest first. */
  async trail(name: string, from: Date): Promise<TrailPoint[]> {
    const points: TrailPoint[] = [];
    const path = `devices/${encodeURIComponent(name)}/positions?from=${from.toISOString()}&format=geojson&quality=ok&limit=${TRAIL_PAGE}`;
    let cursor: string | null = null;
    do {
      const more: string = cursor === null ? '' : `&cursor=${encodeURIComponent(cursor)}`;
      const page = await this.get<GeoJSON.FeatureCollection & { next?: string | null }>(path + more);
      points.push(...page.features.flatMap(trailPoint));
      cursor = page.next ?? null;
    } while (cursor !== null && points.length < TRAIL_POINTS);
    return points.sort((a, b) => a.fix_ms - b.fix_ms);
  }

  private async get<T>(path: string): Promise<T> {
    const answer = await fetch(`/v1/${path}`, {
      headers: { Authorization: `Bearer ${this.key}` },
      signal: AbortSignal.timeout(TIMEOUT_MS),
    });
    if (!answer.ok) {
      const problem = (await answer.json().catch(() => ({}))) as { title?: string; detail?: string };
      throw new ApiError(answer.status, problem.detail ?? problem.title ?? `the server answered ${answer.status}`);
    }
    return (await answer.json()) as T;
  }
}

function trailPoint(feature: GeoJSON.Feature): TrailPoint[] {
  if (feature.geometry?.type !== 'Point') return [];
  const properties = feature.properties ?? {};
  const [lon, lat] = feature.geometry.coordinates;
  return lon === undefined || lat === undefined ? [] : [{ at: [lon, lat], fix_ms: Date.parse(String(properties['fix_time'])) }];
}
