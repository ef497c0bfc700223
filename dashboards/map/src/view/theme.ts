/** The colours of the map, read from the style sheet so that they are named in one place. */

import type { Sentence } from '../wording.ts';
import type { FleetColors, Rgb } from './fleet_layer.ts';

export interface Theme {
  readonly fleet: FleetColors;
  readonly ground: string;
  readonly grid: string;
  readonly gridText: string;
  readonly accent: string;
  readonly casing: string;
  readonly fence: string;
  readonly draft: string;
  readonly route: string;
  readonly text: string;
  readonly tones: Readonly<Record<Sentence['tone'], string>>;
}

export function readTheme(): Theme {
  const style = getComputedStyle(document.documentElement);
  const value = (name: string): string => style.getPropertyValue(`--${name}`).trim();
  return {
    fleet: {
      states: {
        moving: rgb(value('moving')), stopped: rgb(value('stopped')),
        stale: rgb(value('stale')), offline: rgb(value('offline')),
      },
      outline: rgb(value('outline')),
      accent: rgb(value('accent')),
    },
    ground: value('ground'), grid: value('grid'), gridText: value('grid-text'),
    accent: value('accent'), casing: value('outline'),
    fence: value('fence'), draft: value('draft'), route: value('route'), text: value('text'),
    tones: { info: value('stale'), good: value('good'), warn: value('warn'), bad: value('bad') },
  };
}

export function onThemeChange(run: () => void): void {
  matchMedia('(prefers-color-scheme: dark)').addEventListener('change', run);
}

function rgb(hex: string): Rgb {
  const n = Number.parseInt(hex.slice(1), 16);
  return [(n >> 16) / 255, ((n >> 8) & 255) / 255, (n & 255) / 255];
}
