/** The fence being drawn with its grips, and what a preview found. Over everything else. */

import type { GeoJSONSource, Map as MapLibre } from 'maplibre-gl';
import type { Draft } from '../draft.ts';
import type { Ground } from '../ground.ts';
import type { LonLat, WaymarkEvent } from '../model.ts';
import { sentence } from '../wording.ts';
import type { Theme } from './theme.ts';

const NOTHING: GeoJSON.FeatureCollection = { type: 'FeatureCollection', features: [] };

export class DraftLayer {
  private map: MapLibre | null = null;
  private drawn: GeoJSON.FeatureCollection = NOTHING;
  private found: GeoJSON.FeatureCollection = NOTHING;

  constructor(private readonly ground: Ground) {}

  addTo(map: MapLibre, theme: Theme): void {
    this.map = map;
    const color = theme.draft;
    map.addSource('draft', { type: 'geojson', data: this.drawn });
    map.addSource('preview', { type: 'geojson', data: this.found });
    const kind = (name: string): ['==', ['get', 'kind'], string] => ['==', ['get', 'kind'], name];
    map.addLayer({ id: 'draft-fill', type: 'fill', source: 'draft', filter: kind('area'), paint: { 'fill-color': color, 'fill-opacity': 0.15 } });
    map.addLayer({
      id: 'draft-outline', type: 'line', source: 'draft', filter: kind('area'), layout: { 'line-join': 'round' },
      paint: { 'line-color': color, 'line-width': 2 },
    });
    map.addLayer({ id: 'draft-line', type: 'line', source: 'draft', filter: kind('line'), paint: { 'line-color': color, 'line-width': 1.5, 'line-dasharray': [3, 2] } });
    map.addLayer({
      id: 'preview-event', type: 'circle', source: 'preview',
      paint: {
        'circle-radius': 5, 'circle-stroke-width': 1.5, 'circle-stroke-color': theme.casing,
        'circle-color': ['match', ['get', 'tone'], 'good', theme.tones.good, 'warn', theme.tones.warn, 'bad', theme.tones.bad, theme.tones.info],
      },
    });
    map.addLayer({
      id: 'draft-middle', type: 'circle', source: 'draft', filter: kind('middle'),
      paint: { 'circle-radius': 4, 'circle-color': color, 'circle-opacity': 0.45 },
    });
    map.addLayer({
      id: 'draft-grip', type: 'circle', source: 'draft', filter: kind('grip'),
      paint: { 'circle-radius': 6, 'circle-color': theme.casing, 'circle-stroke-color': color, 'circle-stroke-width': 2.5 },
    });
  }

  /** Draw it, with a grip on a circle's rim when it has one; null clears. */
  draw(draft: Draft | null, rim: LonLat | null, adjusting: boolean): void {
    this.drawn = draft === null ? NOTHING : { type: 'FeatureCollection', features: this.features(draft, rim, adjusting) };
    void this.map?.getSource<GeoJSONSource>('draft')?.setData(this.drawn);
  }

  mark(events: readonly WaymarkEvent[]): void {
    const features = events.flatMap((event): GeoJSON.Feature[] => {
      const { lon, lat } = event.data;
      if (typeof lon !== 'number' || typeof lat !== 'number') return [];
      return [{ type: 'Feature', properties: { tone: sentence(event).tone }, geometry: { type: 'Point', coordinates: [lon, lat] } }];
    });
    this.found = { type: 'FeatureCollection', features };
    void this.map?.getSource<GeoJSONSource>('preview')?.setData(this.found);
  }

  private features(draft: Draft, rim: LonLat | null, adjusting: boolean): GeoJSON.Feature[] {
    const point = (kind: string, at: LonLat): GeoJSON.Feature => ({
      type: 'Feature', properties: { kind }, geometry: { type: 'Point', coordinates: at },
    });
    const features: GeoJSON.Feature[] = [];
    const shape = draft.shape();
    if (shape !== null) features.push({ type: 'Feature', properties: { kind: 'area' }, geometry: this.ground.outline(shape) });
    if (draft.kind !== 'circle' && (!adjusting || draft.kind === 'corridor')) {
      for (const line of draft.parts) {
        if (line.length > 1) features.push({ type: 'Feature', properties: { kind: 'line' }, geometry: { type: 'LineString', coordinates: line } });
      }
    }
    if (adjusting) features.push(...draft.middles().map(({ at }) => point('middle', at)));
    features.push(...draft.parts.flat().map((at) => point('grip', at)));
    if (rim !== null) features.push(point('grip', rim));
    return features;
  }
}
