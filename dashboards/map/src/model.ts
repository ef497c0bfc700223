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
