/**
 * Every fence as one GeoJSON source: fill, outline, and from a town's scale on its name.
 *
 * A change sends only what changed to MapLibre's worker, so thousands of fences cost the page's
 * thread nothing while the map moves.
 */

import type { ExpressionSpecification, GeoJSONSource, Map as MapLibre } from 'maplibre-gl';
import type { Changes, Site } from '../fence_book.ts';
import { fontOf } from './letters.ts';
import type { Theme } from './theme.ts';

const NAMES_FROM_ZOOM = 11;
const LAYERS = ['fence-fill', 'fence-line', 'fence-chosen', 'fence-name'] as const;
// Behind a fence's id, in the key of the point that carries its name.
const NAME = '\nname';

export class FenceLayer {
  private map: MapLibre | null = null;
  private chosen = '';
  private hiddenOne = '';
  private visible = true;

  constructor(private readonly sites: ReadonlyMap<string, Site>) {}

  addTo(map: MapLibre, theme: Theme): void {
    this.map = map;
    const features = [...this.sites.values()].flatMap(featuresOf);
    map.addSource('fences', {
      type: 'geojson', promoteId: 'key', tolerance: 0.2, data: { type: 'FeatureCollection', features },
    });
    const color = theme.fence;
    map.addLayer({ id: 'fence-fill', type: 'fill', source: 'fences', paint: { 'fill-color': color, 'fill-opacity': 0.09, 'fill-antialias': false } });
    map.addLayer({
      id: 'fence-line', type: 'line', source: 'fences', layout: { 'line-join': 'round' },
      paint: { 'line-color': color, 'line-opacity': 0.75, 'line-width': ['interpolate', ['linear'], ['zoom'], 6, 0.6, 12, 1.4] },
    });
    map.addLayer({
      id: 'fence-chosen', type: 'line', source: 'fences', layout: { 'line-join': 'round' },
      paint: { 'line-color': color, 'line-width': 3.5 },
    });
    map.addLayer({
      id: 'fence-name', type: 'symbol', source: 'fences', minzoom: NAMES_FROM_ZOOM,
      layout: {
        'text-field': ['get', 'name'], 'text-size': 11.5, 'text-font': fontOf(map), 'text-max-width': 9,
        'symbol-sort-key': ['-', 0, ['get', 'size']],
      },
      paint: { 'text-color': color, 'text-halo-color': theme.casing, 'text-halo-width': 1.5 },
    });
    this.filter();
    this.show(this.visible);
  }

  change({ put, drop }: Changes): void {
    if (put.length === 0 && drop.length === 0) return;
    void this.map?.getSource<GeoJSONSource>('fences')?.updateData({
      add: put.flatMap(featuresOf), remove: drop.flatMap((id) => [id, id + NAME]),
    });
  }

  show(visible: boolean): void {
    this.visible = visible;
    for (const layer of LAYERS) {
      if (this.map?.getLayer(layer)) this.map.setLayoutProperty(layer, 'visibility', visible ? 'visible' : 'none');
    }
  }

  choose(id: string | null): void {
    this.chosen = id ?? '';
    this.filter();
  }

  /** Leave one out, because it is being changed and drawn elsewhere. */
  hideOne(id: string | null): void {
    this.hiddenOne = id ?? '';
    this.filter();
  }

  private filter(): void {
    const { map } = this;
    if (!map?.getLayer('fence-fill')) return;
    const shown: ExpressionSpecification = ['!=', ['get', 'fence'], this.hiddenOne];
    // MapLibre knows Polygon and MultiPolygon alike as 'Polygon'.
    const area: ExpressionSpecification = ['==', ['geometry-type'], 'Polygon'];
    map.setFilter('fence-fill', ['all', area, shown]);
    map.setFilter('fence-line', ['all', area, shown]);
    map.setFilter('fence-chosen', ['all', area, shown, ['==', ['get', 'fence'], this.chosen]]);
    map.setFilter('fence-name', ['all', ['==', ['geometry-type'], 'Point'], shown]);
  }

  /** The ids of the fences drawn at a point of the canvas, the smallest first. */
  at(x: number, y: number): string[] {
    if (!this.visible || !this.map?.getLayer('fence-fill')) return [];
    const found = this.map.queryRenderedFeatures([x, y], { layers: ['fence-fill'] });
    const ids = new Set(found.map((feature) => String(feature.properties['fence'])));
    return [...ids].sort((a, b) => this.size(a) - this.size(b));
  }

  private size(id: string): number {
    const site = this.sites.get(id);
    return site === undefined ? Infinity : sizeOf(site);
  }
}

function sizeOf({ box }: Site): number {
  return (box[2] - box[0]) * (box[3] - box[1]);
}

function featuresOf(site: Site): GeoJSON.Feature[] {
  const { id, name } = site.fence;
  return [
    { type: 'Feature', properties: { key: id, fence: id }, geometry: site.outline },
    {
      type: 'Feature', properties: { key: id + NAME, fence: id, name, size: sizeOf(site) },
      geometry: { type: 'Point', coordinates: site.middle },
    },
  ];
}
