/** Plane and sphere geometry. Mercator places are in the unit square, y growing southwards. */

export interface Place {
  readonly x: number;
  readonly y: number;
}

const MAX_LAT = 85.051129;
const EARTH_RADIUS_M = 6_371_008.8;
const RADIANS = Math.PI / 180;

export function toMercator(lon: number, lat: number): Place {
  const clamped = Math.max(-MAX_LAT, Math.min(MAX_LAT, lat));
  const y = 0.5 - Math.log(Math.tan(Math.PI / 4 + (clamped * RADIANS) / 2)) / (2 * Math.PI);
  return { x: (lon + 180) / 360, y };
}

export function toLonLat(place: Place): [lon: number, lat: number] {
  const lat = (2 * Math.atan(Math.exp(Math.PI * (1 - 2 * place.y))) - Math.PI / 2) / RADIANS;
  return [place.x * 360 - 180, lat];
}

/** Great-circle distance in metres. */
export function distanceM(lon1: number, lat1: number, lon2: number, lat2: number): number {
  const dLat = Math.sin(((lat2 - lat1) * RADIANS) / 2);
  const dLon = Math.sin(((lon2 - lon1) * RADIANS) / 2);
  const h = dLat * dLat + Math.cos(lat1 * RADIANS) * Math.cos(lat2 * RADIANS) * dLon * dLon;
  return 2 * EARTH_RADIUS_M * Math.asin(Math.min(1, Math.sqrt(h)));
}

/** Course from one mercator place to another in degrees clockwise from north, 0 to 360. */
export function courseDeg(from: Place, to: Place): number {
  return (Math.atan2(to.x - from.x, from.y - to.y) / RADIANS + 360) % 360;
}

/** `angle` shifted by whole turns to lie within half a turn of `near`, so that a blend takes the short way. */
export function nearestTurnDeg(angle: number, near: number): number {
  return near + ((((angle - near + 180) % 360) + 360) % 360) - 180;
}

const STEPS_DEG = [30, 20, 10, 5, 2, 1, 0.5, 0.2, 0.1, 0.05, 0.02, 0.01, 0.005, 0.002, 0.001] as const;

/** Degrees between lines of a graticule that puts about six of them across `span_deg`. */
export function graticuleStepDeg(span_deg: number): number {
  return STEPS_DEG.find((step) => span_deg / step >= 5) ?? 0.001;
}

export interface GraticuleLine {
  readonly kind: 'meridian' | 'parallel';
  readonly label: string;
  readonly coordinates: [number, number][];
}

/** Meridians and parallels over the box, each running well past its edges. */
export function graticule(west: number, south: number, east: number, north: number): GraticuleLine[] {
  const step = graticuleStepDeg(Math.max(east - west, 0.002));
  const digits = Math.max(0, Math.ceil(-Math.log10(step) - 1e-9));
  const low = Math.max(-MAX_LAT, south - (north - south));
  const high = Math.min(MAX_LAT, north + (north - south));
  const lines: GraticuleLine[] = [];
  for (let i = Math.ceil((west - step) / step); i * step <= east + step; i += 1) {
    const lon = i * step;
    lines.push({ kind: 'meridian', label: degrees(lon, digits, 'E', 'W'), coordinates: [[lon, low], [lon, high]] });
  }
  for (let i = Math.ceil(Math.max(low, south - step) / step); i * step <= Math.min(high, north + step); i += 1) {
    const lat = i * step;
    const ends: [number, number][] = [[west - (east - west), lat], [east + (east - west), lat]];
    lines.push({ kind: 'parallel', label: degrees(lat, digits, 'N', 'S'), coordinates: ends });
  }
  return lines;
}

function degrees(value: number, digits: number, positive: string, negative: string): string {
  const text = Math.abs(value).toFixed(digits);
  const zero = Number(text) === 0;
  return `${text}°${zero ? '' : value > 0 ? positive : negative}`;
}
