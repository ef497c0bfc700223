/**
 * The map itself: base style, graticule, the selected device's trail and the fleet layer on top.
 *
 * The built-in style needs nothing from outside. A configured style is used when it loads; when it or
 * its first tiles do not, the built-in one stays.
 */

import {
  AttributionControl, Map as MapLibre, NavigationControl, ScaleControl, setWorkerUrl,
  type GeoJSONSource, type StyleSpecification,
} from 'maplibre-gl';
import type { TrailPoint } from '../api.ts';
import { placeAt, type Device, type Fleet } from '../fleet.ts';
import { graticule, toLonLat, toMercator } from '../geo.ts';
import type { LonLat } from '../model.ts';
import type { FleetLayer } from './fleet_layer.ts';
import type { Theme } from './theme.ts';

declare const WORKER_URL: string;
setWorkerUrl(new URL(WORKER_URL, document.baseURI).href);

// What a style needs from outside is what is not ours.
const OWN_SOURCES = new Set(['trail', 'fences', 'draft', 'preview', 'shipment', 'shipment-astray']);

const NOTHING: GeoJSON.FeatureCollection = { type: 'FeatureCollection', features: [] };
const STYLE_TIMEOUT_MS = 8_000;
// A gap in a trail longer than this is shown as a gap.
const TRAIL_GAP_MS = 15 * 60_000;
const PICK_PX = 6;

export interface Insets {
  readonly top: number;
  readonly right: number;
  readonly bottom: number;
  readonly left: number;
}

/** Something drawn on the map. `addTo` is called with each new style, and makes its sources and layers anew. */
export interface Overlay {
  addTo(map: MapLibre, theme: Theme): void;
}

export class MapView {
  readonly map: MapLibre;
  /** Drawn under trail and fleet, and over them, in this order. */
  readonly under: Overlay[] = [];
  readonly over: Overlay[] = [];
  private trail: TrailPoint[] = [];
  private baseIsPlain = true;

  constructor(
    container: HTMLElement, private theme: Theme, private readonly layer: FleetLayer,
    private readonly fleet: Fleet, private readonly now_s: () => number,
  ) {
    this.map = new MapLibre({
      container, style: plainStyle(theme), center: [0, 25], zoom: 1.4, maxPitch: 0, maxZoom: 20,
      renderWorldCopies: false, attributionControl: false, fadeDuration: 0, keyboard: true,
    });
    this.map.touchZoomRotate.disableRotation();
    this.map.dragRotate.disable();
    this.map.addControl(new NavigationControl({ showCompass: false }), 'bottom-right');
    this.map.addControl(new ScaleControl({ maxWidth: 120 }), 'bottom-right');
    this.map.on('style.load', () => this.addOverlays());
    this.map.on('moveend', () => this.drawGraticule());
    this.map.getCanvas().setAttribute('aria-label', 'Map of the fleet');
  }

  private addOverlays(): void {
    const { map, theme } = this;
    for (const overlay of this.under) overlay.addTo(map, theme);
    map.addSource('trail', { type: 'geojson', data: NOTHING });
    map.addLayer({
      id: 'trail-casing', type: 'line', source: 'trail', layout: { 'line-cap': 'round', 'line-join': 'round' },
      paint: { 'line-color': theme.casing, 'line-width': 6, 'line-opacity': 0.7 },
    });
    map.addLayer({
      id: 'trail', type: 'line', source: 'trail', layout: { 'line-cap': 'round', 'line-join': 'round' },
      paint: { 'line-color': theme.accent, 'line-width': 3 },
    });
    map.addLayer(this.layer);
    for (const overlay of this.over) overlay.addTo(map, theme);
    this.drawGraticule();
    this.drawTrail();
  }

  /** Use the style at `url` as the base map, unless it or what it refers to cannot be had. */
  async useStyle(url: string): Promise<void> {
    try {
      const answer = await fetch(url, { signal: AbortSignal.timeout(STYLE_TIMEOUT_MS) });
      if (!answer.ok) throw new Error(`HTTP ${answer.status}`);
      const style = (await answer.json()) as StyleSpecification;
      this.baseIsPlain = false;
      this.map.addControl(new AttributionControl({ compact: true }), 'bottom-right');
      this.map.setStyle(style, { diff: false });
      this.fallBackUnlessTilesLoad();
    } catch (error) {
      console.warn(`waymark map: the style at ${url} cannot be used, the built-in one stays:`, error);
    }
  }

  private fallBackUnlessTilesLoad(): void {
    const settle = (): void => {
      this.map.off('sourcedata', onData);
      this.map.off('error', onError);
    };
    const onData = (data: { sourceId?: string; tile?: unknown }): void => {
      if (data.tile !== undefined && !OWN_SOURCES.has(data.sourceId ?? '')) settle();
    };
    const onError = (): void => {
      settle();
      console.warn('waymark map: the base map does not load, the built-in one is used');
      this.baseIsPlain = true;
      this.map.setStyle(plainStyle(this.theme), { diff: false });
    };
    this.map.on('sourcedata', onData);
    this.map.on('error', onError);
  }

  setTheme(theme: Theme): void {
    this.theme = theme;
    this.layer.setColors(theme.fleet);
    if (this.baseIsPlain) this.map.setStyle(plainStyle(theme), { diff: false });
  }

  private drawGraticule(): void {
    const source = this.map.getSource<GeoJSONSource>('graticule');
    if (source === undefined) return;
    const box = this.map.getBounds();
    const features = graticule(box.getWest(), box.getSouth(), box.getEast(), box.getNorth()).map(
      (line): GeoJSON.Feature => ({
        type: 'Feature', properties: { label: line.label },
        geometry: { type: 'LineString', coordinates: line.coordinates },
      }),
    );
    void source.setData({ type: 'FeatureCollection', features });
  }

  /** Show these fixes as the selected device's trail, replacing what was shown. */
  setTrail(points: readonly TrailPoint[]): void {
    this.trail = [...points];
    this.drawTrail();
  }

  extendTrail(point: TrailPoint): void {
    const last = this.trail.at(-1);
    if (last !== undefined && last.fix_ms >= point.fix_ms) return;
    this.trail.push(point);
    this.drawTrail();
  }

  private drawTrail(): void {
    const lines: LonLat[][] = [];
    let last_ms = -Infinity;
    for (const point of this.trail) {
      if (point.fix_ms - last_ms > TRAIL_GAP_MS) lines.push([]);
      lines.at(-1)?.push(point.at);
      last_ms = point.fix_ms;
    }
    const data: GeoJSON.Feature = {
      type: 'Feature', properties: {},
      geometry: { type: 'MultiLineString', coordinates: lines.filter((line) => line.length > 1) },
    };
    void this.map.getSource<GeoJSONSource>('trail')?.setData(data);
  }

  /** The device drawn nearest to a point of the canvas, if one is within reach. */
  pick(x: number, y: number): Device | null {
    const here = this.map.unproject([x, y]);
    const at = toMercator(here.lng, here.lat);
    const reach = (this.layer.radiusPx() + PICK_PX) / (512 * 2 ** this.map.getZoom());
    let best: Device | null = null;
    let best_d = reach * reach;
    for (const device of this.fleet.devices.values()) {
      if (device.position === null || this.layer.isHidden(device)) continue;
      const place = placeAt(device, this.now_s());
      const d = (place.x - at.x) ** 2 + (place.y - at.y) ** 2;
      if (d < best_d) [best, best_d] = [device, d];
    }
    return best;
  }

  /** Bring a box into view: west, south, east, north. */
  flyToBox(box: readonly [number, number, number, number], insets: Insets): void {
    const padding = { top: insets.top + 60, right: insets.right + 60, bottom: insets.bottom + 60, left: insets.left + 60 };
    this.map.fitBounds([...box], { padding, maxZoom: 17, duration: 900 });
  }

  flyTo(device: Device, insets: Insets): void {
    if (device.position !== null) this.flyToPlace(toLonLat(device.to), insets);
  }

  flyToPlace(center: LonLat, insets: Insets): void {
    this.map.easeTo({
      center, zoom: Math.max(this.map.getZoom(), 13.5), duration: 900,
      offset: [(insets.left - insets.right) / 2, (insets.top - insets.bottom) / 2],
    });
  }

  /** Bring the fleet into view, but not a few strays that would shrink the rest to a dot. */
  fit(insets: Insets, duration: number): void {
    const places = [...this.fleet.devices.values()].filter((device) => device.position !== null).map((device) => device.to);
    if (places.length === 0) return;
    const xs = places.map((place) => place.x).sort((a, b) => a - b);
    const ys = places.map((place) => place.y).sort((a, b) => a - b);
    const skip = Math.floor(places.length * 0.01);
    const low = toLonLat({ x: xs[skip] ?? 0, y: ys.at(-1 - skip) ?? 0 });
    const high = toLonLat({ x: xs.at(-1 - skip) ?? 1, y: ys[skip] ?? 0 });
    const padding = { top: insets.top + 50, right: insets.right + 50, bottom: insets.bottom + 50, left: insets.left + 50 };
    this.map.fitBounds([low, high], { padding, maxZoom: 15, duration });
  }
}

function plainStyle(theme: Theme): StyleSpecification {
  return {
    version: 8,
    sources: { graticule: { type: 'geojson', data: NOTHING } },
    layers: [
      { id: 'ground', type: 'background', paint: { 'background-color': theme.ground } },
      { id: 'graticule', type: 'line', source: 'graticule', paint: { 'line-color': theme.grid, 'line-width': 1 } },
      {
        // Without a glyph address MapLibre draws letters with the browser's own fonts.
        id: 'graticule-label', type: 'symbol', source: 'graticule',
        layout: {
          'symbol-placement': 'line', 'symbol-spacing': 600, 'text-field': ['get', 'label'], 'text-size': 10.5,
          'text-font': ['sans-serif'], 'text-offset': [0, -0.8], 'text-rotation-alignment': 'map',
        },
        paint: { 'text-color': theme.gridText },
      },
    ],
  };
}
