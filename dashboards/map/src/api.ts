/** The REST API, as far as the map needs it. Every call carries the credential in a header and times out. */

import type { Credential } from './credential.ts';
import type { Box } from './ground.ts';
import type { Alert, AlertState, DeviceSummary, Fence, FenceBody, LonLat, PreviewLine, Visit, WaymarkEvent } from './model.ts';
import { jsonLines } from './ndjson.ts';
import type { Part, ShipmentQuery } from './shipment_book.ts';
import type { PlannedLine, Shipment, ShipmentDetail } from './shipment_model.ts';

const TIMEOUT_MS = 15_000;
const TRAIL_POINTS = 20_000;
const PAGE = 1000;
const TRAIL_PAGE = 10_000;
const FENCE_PAGE = 500;
const SHIPMENT_PAGE = 100;
// What a row shows, and what the panel shows beside it. A planned line may be half a megabyte: it is asked for by itself.
const ROW = 'id,order_ref,status,since,exceptions,at_stop,next_stop,stops.kind,stops.name,stops.time_zone,stops.arrive,stops.depart,'
  + 'stops.planned_until,stops.done,stops.delayed,eta.state,eta.as_of,eta.stops,eta.at_risk';
const DETAIL = `${ROW},version,stops.place,stops.fence,route.length_m,route.progress_m,route.offset_m,route.off_route,eta.told_at,eta.because,`
  + 'eta.remaining_m,last_seen.position,last_seen.stale,last_seen.carried_by';

/** What is wrong with one member of what was sent, such as `shape.coordinates[0][3]`. */
export interface Fault {
  readonly field: string;
  readonly message: string;
}

/** An answer other than 2xx; `message` is fit to be shown. */
export class ApiError extends Error {
  constructor(readonly status: number, message: string, readonly faults: readonly Fault[] = []) {
    super(message);
  }
}

interface Page<T> {
  readonly items: readonly T[];
  readonly next: string | null;
}

/** One stored fix of a trail, oldest first. */
export interface TrailPoint {
  readonly at: LonLat;
  readonly fix_ms: number;
}

export class Api {
  constructor(private readonly credential: Credential) {}

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

  /** A page of the fences that touch the box, and the cursor of the next. */
  async fences(box: Box, cursor: string | null, signal: AbortSignal): Promise<Page<Fence>> {
    const bbox = box.map((edge) => edge.toFixed(6)).join(',');
    const more = cursor === null ? '' : `&cursor=${encodeURIComponent(cursor)}`;
    return this.get(`fences?bbox=${bbox}&limit=${FENCE_PAGE}${more}`, signal);
  }

  fence(id: string): Promise<Fence> {
    return this.get(`fences/${encodeURIComponent(id)}`);
  }

  /** Make a fence, which gets an id unless the body has one. One that exists is not changed. */
  createFence(body: FenceBody & { id?: string }): Promise<Fence> {
    return this.send('POST', 'fences', body);
  }

  /** Make a fence's next version, unless somebody else has changed it since version `over`. */
  changeFence(id: string, body: FenceBody, over: number): Promise<Fence> {
    return this.send('PUT', `fences/${encodeURIComponent(id)}`, body, { 'If-Match': `"${over}"` });
  }

  async deleteFence(id: string): Promise<void> {
    await this.ask('DELETE', `fences/${encodeURIComponent(id)}`);
  }

  /** What a fence would have raised from `start` to `end`, as it is found out. Abort `signal` to end it early. */
  async *previewFence(fence: FenceBody & { id?: string }, start: Date, end: Date, signal: AbortSignal): AsyncGenerator<PreviewLine> {
    const body = { fence, start: start.toISOString(), end: end.toISOString() };
    const answer = await this.ask('POST', 'fences/preview', body, {}, signal);
    if (answer.body !== null) yield* jsonLines<PreviewLine>(answer.body);
  }

  async fenceEvents(id: string, limit: number): Promise<readonly WaymarkEvent[]> {
    return (await this.get<Page<WaymarkEvent>>(`events?fence=${encodeURIComponent(id)}&limit=${limit}&order=desc`)).items;
  }

  /** The visits of a fence that have not ended. */
  async openVisits(fence: string): Promise<readonly Visit[]> {
    return (await this.get<Page<Visit>>(`visits?fence=${encodeURIComponent(fence)}&open=true&limit=${PAGE}`)).items;
  }

  async alerts(states: readonly AlertState[], limit: number): Promise<readonly Alert[]> {
    const wanted = states.map((state) => `state=${state}`).join('&');
    return (await this.get<Page<Alert>>(`alerts?${wanted}&limit=${limit}`)).items;
  }

  actOnAlert(id: string, verb: 'acknowledge' | 'resolve' | 'snooze', body: object): Promise<Alert> {
    return this.send('POST', `alerts/${encodeURIComponent(id)}/${verb}`, body);
  }

  /** The last made of the shipments asked for, as many as a list shows. */
  async shipments(query: ShipmentQuery): Promise<Part> {
    const asked = new URLSearchParams({ fields: ROW, limit: String(SHIPMENT_PAGE) });
    for (const [name, value] of Object.entries(query) as [string, string | readonly string[]][]) {
      for (const each of [value].flat()) asked.append(name, each);
    }
    const page = await this.get<Page<Shipment>>(`shipments?${asked}`);
    return { items: page.items, more: page.next !== null };
  }

  shipment(id: string): Promise<ShipmentDetail> {
    return this.get(`shipments/${encodeURIComponent(id)}?fields=${DETAIL}`);
  }

  plannedLine(id: string): Promise<PlannedLine> {
    return this.get(`shipments/${encodeURIComponent(id)}?fields=version,route.line`);
  }

  /** The last events of a shipment, newest first. */
  async shipmentEvents(id: string, limit: number): Promise<readonly WaymarkEvent[]> {
    return (await this.get<Page<WaymarkEvent>>(`shipments/${encodeURIComponent(id)}/events?limit=${limit}&order=desc`)).items;
  }

  private async get<T>(path: string, signal?: AbortSignal): Promise<T> {
    return (await (await this.ask('GET', path, undefined, {}, signal)).json()) as T;
  }

  private async send<T>(method: string, path: string, body: unknown, headers: Record<string, string> = {}): Promise<T> {
    return (await (await this.ask(method, path, body, headers)).json()) as T;
  }

  private async ask(
    method: string, path: string, body?: unknown, headers: Record<string, string> = {}, signal = AbortSignal.timeout(TIMEOUT_MS),
  ): Promise<Response> {
    const sent = body === undefined ? {} : { body: JSON.stringify(body) };
    const type: Record<string, string> = body === undefined ? {} : { 'Content-Type': 'application/json' };
    const once = (): Promise<Response> => fetch(`/v1/${path}`, {
      method, signal, headers: { Authorization: `Bearer ${this.credential.token}`, ...type, ...headers }, ...sent,
    });
    let answer = await once();
    if (answer.status === 401) {
      const renewal = await this.credential.renew();
      if (renewal === 'later') throw new ApiError(503, 'the server cannot tell who you are at the moment');
      if (renewal === 'renewed') answer = await once();
    }
    if (!answer.ok) throw refusal(answer.status, (await answer.json().catch(() => ({}))) as Problem);
    return answer;
  }
}

/** RFC 9457: one fault in `field` and `detail`, or several in `errors`. */
interface Problem {
  readonly title?: string;
  readonly detail?: string;
  readonly field?: string | null;
  readonly errors?: readonly { readonly field?: string; readonly detail?: string; readonly message?: string }[];
}

function refusal(status: number, problem: Problem): ApiError {
  const message = problem.detail ?? problem.title ?? `the server answered ${status}`;
  const named = problem.errors?.map((error) => ({ field: error.field ?? '', message: error.message ?? error.detail ?? message }));
  return new ApiError(status, message, named ?? (problem.field ? [{ field: problem.field, message }] : []));
}

function trailPoint(feature: GeoJSON.Feature): TrailPoint[] {
  if (feature.geometry?.type !== 'Point') return [];
  const properties = feature.properties ?? {};
  const [lon, lat] = feature.geometry.coordinates;
  return lon === undefined || lat === undefined ? [] : [{ at: [lon, lat], fix_ms: Date.parse(String(properties['fix_time'])) }];
}
