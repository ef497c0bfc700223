/** The selected shipment: its planned way, driven part and rest, its stops in order, and how far it is off its way. */

import type { GeoJSONSource, Map as MapLibre } from 'maplibre-gl';
import type { LonLat } from '../model.ts';
import type { Way } from '../way.ts';
import { fontOf } from './letters.ts';
import type { Theme } from './theme.ts';

const NOTHING: GeoJSON.FeatureCollection = { type: 'FeatureCollection', features: [] };
const NAMES_FROM_ZOOM = 8;

/** A stop as drawn: `look` is what it is to the shipment, `late` that its window is missed or will be. */
export interface Mark {
  readonly at: LonLat;
  readonly number: number;
  readonly look: 'done' | 'next' | 'ahead';
  readonly late: boolean;
  readonly name: string;
}

export interface Drawing extends Way {
  readonly marks: readonly Mark[];
}

export class ShipmentLayer {
  private map: MapLibre | null = null;
  private way: GeoJSON.FeatureCollection = NOTHING;
  private astray: GeoJSON.FeatureCollection = NOTHING;

  addTo(map: MapLibre, theme: Theme): void {
    this.map = map;
    map.addSource('shipment', { type: 'geojson', tolerance: 0.2, data: this.way });
    map.addSource('shipment-astray', { type: 'geojson', data: this.astray });
    const { route, casing, tones } = theme;
    const kind = (name: string): ['==', ['get', 'kind'], string] => ['==', ['get', 'kind'], name];
    const round = { 'line-cap': 'round', 'line-join': 'round' } as const;
    map.addLayer({
      id: 'shipment-casing', type: 'line', source: 'shipment', filter: ['in', ['get', 'kind'], ['literal', ['driven', 'rest']]],
      layout: round, paint: { 'line-color': casing, 'line-width': 8, 'line-opacity': 0.8 },
    });
    map.addLayer({ id: 'shipment-rest', type: 'line', source: 'shipment', filter: kind('rest'), layout: round, paint: { 'line-color': route, 'line-width': 4.5 } });
    // Straight from stop to stop, where nobody planned a way.
    map.addLayer({
      id: 'shipment-straight', type: 'line', source: 'shipment', filter: kind('straight'), layout: round,
      paint: { 'line-color': route, 'line-width': 2.5, 'line-dasharray': [0.5, 2.2] },
    });
    map.addLayer({ id: 'shipment-driven', type: 'line', source: 'shipment', filter: kind('driven'), layout: round, paint: { 'line-color': tones.info, 'line-width': 3.5 } });
    map.addLayer({
      id: 'shipment-astray', type: 'line', source: 'shipment-astray', layout: round,
      paint: { 'line-color': tones.bad, 'line-width': 2.5, 'line-dasharray': [1.2, 1.8] },
    });
    this.addMarks(map, theme);
  }

  private addMarks(map: MapLibre, { route, casing, tones, text }: Theme): void {
    const look = (done: string, next: string, ahead: string): ['match', ['get', 'look'], 'done', string, 'next', string, string] =>
      ['match', ['get', 'look'], 'done', done, 'next', next, ahead];
    const filter: ['==', ['get', 'kind'], string] = ['==', ['get', 'kind'], 'stop'];
    map.addLayer({
      id: 'shipment-stop', type: 'circle', source: 'shipment', filter,
      paint: {
        'circle-radius': 11, 'circle-color': look(tones.info, route, casing), 'circle-stroke-width': 2.5,
        'circle-stroke-color': ['case', ['get', 'late'], tones.bad, look(casing, casing, route)],
      },
    });
    map.addLayer({
      id: 'shipment-stop-number', type: 'symbol', source: 'shipment', filter,
      layout: { 'text-field': ['to-string', ['get', 'number']], 'text-size': 12, 'text-font': fontOf(map), 'text-allow-overlap': true },
      paint: { 'text-color': look(casing, casing, route) },
    });
    map.addLayer({
      id: 'shipment-stop-name', type: 'symbol', source: 'shipment', filter, minzoom: NAMES_FROM_ZOOM,
      layout: {
        'text-field': ['get', 'name'], 'text-size': 12, 'text-font': fontOf(map), 'text-variable-anchor': ['top', 'bottom', 'left', 'right'],
        'text-radial-offset': 1.3, 'text-justify': 'auto', 'text-max-width': 14,
      },
      paint: { 'text-color': text, 'text-halo-color': casing, 'text-halo-width': 1.6 },
    });
  }

  /** Draw this one; null clears. */
  draw(drawing: Drawing | null): void {
    this.way = drawing === null ? NOTHING : { type: 'FeatureCollection', features: featuresOf(drawing) };
    void this.map?.getSource<GeoJSONSource>('shipment')?.setData(this.way);
  }

  /** From where it should be along its way to where it is; null when it is on it. */
  stray(line: readonly [LonLat, LonLat] | null): void {
    if (line === null && this.astray === NOTHING) return;
    this.astray = line === null ? NOTHING : { type: 'FeatureCollection', features: [lineOf('astray', line)] };
    void this.map?.getSource<GeoJSONSource>('shipment-astray')?.setData(this.astray);
  }
}

function lineOf(kind: string, line: readonly LonLat[]): GeoJSON.Feature {
  return { type: 'Feature', properties: { kind }, geometry: { type: 'LineString', coordinates: [...line] } };
}

function featuresOf({ driven, rest, planned, marks }: Drawing): GeoJSON.Feature[] {
  const lines = [['driven', driven], [planned ? 'rest' : 'straight', rest]] as const;
  return [
    ...lines.filter(([, line]) => line.length > 1).map(([kind, line]) => lineOf(kind, line)),
    ...marks.map(({ at, ...mark }): GeoJSON.Feature => ({
      type: 'Feature', properties: { kind: 'stop', ...mark }, geometry: { type: 'Point', coordinates: at },
    })),
  ];
}
