/** What the API sends, as it is on the wire. Times are ISO-8601 with Z, angles degrees, lon before lat. */

export interface Position {
  readonly device: string;
  readonly fix_time: string;
  readonly received_at: string;
  readonly lon: number;
  readonly lat: number;
  readonly alt_m: number | null;
  readonly speed_mps: number | null;
  readonly course_deg: number | null;
  readonly accuracy_m: number | null;
  readonly battery: number | null;
  readonly quality: string;
  readonly h3: string | null;
  readonly attrs: Readonly<Record<string, unknown>> | null;
}

/** A CloudEvents 1.0 envelope with Waymark's extensions. An amendment is the same `id` with a higher `revision`. */
export interface WaymarkEvent {
  readonly id: string;
  readonly type: string;
  readonly subject: string;
  readonly time: string;
  readonly data: Readonly<Record<string, unknown>>;
  readonly recorded_at: string;
  readonly revision: number;
  readonly status: 'active' | 'retracted';
  readonly late: boolean;
  readonly cursor: number;
}

/** What `GET /v1/devices` says of a device beyond its position; absent fields are unknown. */
export interface DeviceSummary {
  readonly name: string;
  readonly motion?: string | null;
  readonly odometer_m?: number | null;
  readonly online?: boolean | null;
  readonly online_at?: string | null;
  readonly heard_at?: string | null;
  readonly position?: Position | null;
}

export const LIVE_STATES = ['moving', 'stopped', 'stale', 'offline'] as const;
/** What the map says of a device; the order is the order in which it is shown. */
export type LiveState = (typeof LIVE_STATES)[number];

export type LonLat = [lon: number, lat: number];

/** The ground of a fence. `Cells` are hexadecimal H3 indexes, of several resolutions perhaps. */
export type FenceShape =
  | { readonly type: 'Polygon'; readonly coordinates: readonly (readonly LonLat[])[] }
  | { readonly type: 'MultiPolygon'; readonly coordinates: readonly (readonly (readonly LonLat[])[])[] }
  | { readonly type: 'Circle'; readonly center: LonLat; readonly radius_m: number }
  | { readonly type: 'Corridor'; readonly coordinates: readonly LonLat[] | readonly (readonly LonLat[])[]; readonly width_m: number }
  | { readonly type: 'Cells'; readonly cells: readonly string[] };

/** What somebody may say of a fence; the server's own members are added in `Fence`. */
export interface FenceBody {
  readonly name: string;
  readonly shape: FenceShape;
  readonly layer?: string | null;
  readonly buffers?: Readonly<{ enter_m?: number | null; exit_m?: number | null; min_fixes?: number | null }> | null;
  readonly dwell_s?: number | null;
  readonly speed_limit_mps?: number | null;
  readonly schedule?: unknown;
  readonly applies_to?: Readonly<{ devices?: readonly string[]; groups?: readonly string[]; tags?: readonly string[] }> | null;
  readonly normal?: 'inside' | 'outside';
  readonly crossed?: boolean;
  readonly attrs?: Readonly<Record<string, unknown>>;
}

export interface Fence extends FenceBody {
  readonly id: string;
  readonly version: number;
  readonly deleted_at?: string | null;
  /** What was mended in the shape, or is doubtful about it. */
  readonly notes?: readonly string[];
}

/** A stay of a device in a fence, as `GET /v1/visits` tells it. */
export interface Visit {
  readonly device: string;
  readonly entered_at: string;
  readonly entered_event: string;
}

export const SEVERITIES = ['critical', 'warning', 'info'] as const;
export type Severity = (typeof SEVERITIES)[number];
export type AlertState = 'open' | 'escalated' | 'acknowledged' | 'snoozed' | 'resolved' | 'suppressed';

export interface Alert {
  readonly id: string;
  readonly rule: string;
  readonly severity: Severity;
  readonly state: AlertState;
  readonly device: string;
  readonly fence?: string | null;
  readonly opened_at: string;
  readonly event: { readonly id: string; readonly type: string; readonly time: string; readonly data?: Readonly<Record<string, unknown>> };
  readonly note?: string | null;
}

/** A line of a preview's answer: how far it is, what the fence would have raised, the sum of it, or why it broke off. */
export type PreviewLine =
  | { readonly progress: { readonly devices_done: number; readonly devices: number; readonly fixes: number } }
  | { readonly event: WaymarkEvent }
  | { readonly summary: { readonly events: Readonly<Record<string, number>>; readonly devices: number; readonly fixes: number; readonly seconds: number; readonly notes?: readonly string[] } }
  | { readonly error: { readonly detail: string } };
