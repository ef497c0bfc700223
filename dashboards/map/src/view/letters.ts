/** The letters of names on the map. */

import type { Map as MapLibre } from 'maplibre-gl';

/** Letters the style has: those of its own names, or where it names no glyphs any the browser has. */
export function fontOf(map: MapLibre): string[] {
  for (const layer of map.getStyle().layers) {
    const font: unknown = layer.type === 'symbol' ? layer.layout?.['text-font'] : undefined;
    if (Array.isArray(font) && font.every((name) => typeof name === 'string')) return font;
  }
  return ['sans-serif'];
}
