/** Names beside markers: the selected, the hovered and the flagged devices always, the others while there is room and nothing else to look at. */

import type { Map as MapLibre } from 'maplibre-gl';
import { placeAt, type Device, type Fleet } from '../fleet.ts';
import { toLonLat } from '../geo.ts';
import type { FleetLayer } from './fleet_layer.ts';
import type { Flag } from '../shipment_carriers.ts';
import { byId, el, say } from './dom.ts';

// More names than this on one screen are noise, and each costs a style write per frame.
const MAX_LABELS = 48;
const CHOOSE_EVERY_S = 0.5;
const HEIGHT_PX = 18;
const CHARACTER_PX = 6.6;

/** What is wrong with what devices carry. */
export interface Flags {
  /** Whether somebody looks at one shipment: names of devices would lie over its stops. */
  readonly focused: boolean;
  readonly flagged: Iterable<string>;
  flagOf(device: string): Flag | null;
}

interface Box {
  readonly left: number;
  readonly top: number;
  readonly right: number;
  readonly bottom: number;
}

export class Labels {
  private readonly layer = byId('labels');
  private readonly pool: HTMLElement[] = [];
  private chosen: Device[] = [];
  private chosen_s = -Infinity;

  constructor(
    private readonly map: MapLibre, private readonly fleet: Fleet, private readonly markers: FleetLayer,
    private readonly flags: Flags, private readonly now_s: () => number,
  ) {
    map.on('render', () => this.draw());
  }

  private draw(): void {
    const now_s = this.now_s();
    if (now_s - this.chosen_s > CHOOSE_EVERY_S) {
      this.chosen = this.choose(now_s);
      this.chosen_s = now_s;
    }
    const forced = [...this.flagged(), this.markers.selected, this.markers.hovered].filter((device) => device !== null);
    const shown = [...new Set([...forced, ...(this.flags.focused ? [] : this.chosen)])];
    const gap = this.markers.radiusPx() + 5;
    shown.forEach((device, i) => this.put(this.element(i), device, gap, now_s));
    for (let i = shown.length; i < this.pool.length; i += 1) this.element(i).hidden = true;
  }

  private put(label: HTMLElement, device: Device, gap: number, now_s: number): void {
    const at = this.screen(device, now_s);
    say(label, this.textOf(device));
    label.dataset['flag'] = this.flags.flagOf(device.name)?.tone ?? '';
    label.hidden = this.markers.isHidden(device);
    label.classList.toggle('selected', device === this.markers.selected);
    label.style.transform = `translate(${(at.x + (device === this.markers.selected ? gap * 1.35 : gap)).toFixed(1)}px, ${(at.y - HEIGHT_PX / 2).toFixed(1)}px)`;
  }

  private flagged(): Device[] {
    return [...this.flags.flagged].slice(0, MAX_LABELS).flatMap((name) => {
      const device = this.fleet.devices.get(name);
      return device === undefined || device.position === null ? [] : [device];
    });
  }

  private textOf(device: Device): string {
    const flag = this.flags.flagOf(device.name);
    return flag === null ? device.name : `${device.name} ⚑ ${flag.words}`;
  }

  private element(i: number): HTMLElement {
    let label = this.pool[i];
    if (label === undefined) {
      label = el('span');
      this.pool.push(label);
      this.layer.append(label);
    }
    return label;
  }

  private screen(device: Device, now_s: number): { x: number; y: number } {
    return this.map.project(toLonLat(placeAt(device, now_s)));
  }

  private choose(now_s: number): Device[] {
    const { width, height } = this.layer.getBoundingClientRect();
    const seen: { device: Device; x: number; y: number }[] = [];
    for (const device of this.fleet.devices.values()) {
      if (device.position === null || this.markers.isHidden(device)) continue;
      const { x, y } = this.screen(device, now_s);
      if (x < 0 || y < 0 || x > width || y > height) continue;
      seen.push({ device, x, y });
      if (seen.length > MAX_LABELS * 4) return [];
    }
    // Those that have a label keep it, so that names do not flicker as devices pass each other.
    const had = new Set(this.chosen);
    seen.sort((a, b) => Number(had.has(b.device)) - Number(had.has(a.device)));
    const gap = this.markers.radiusPx();
    const taken: Box[] = [...document.querySelectorAll('.card')].map((card) => card.getBoundingClientRect());
    for (const { x, y } of seen) taken.push({ left: x - gap, top: y - gap, right: x + gap, bottom: y + gap });
    const chosen: Device[] = [];
    const boxOf = (device: Device, x: number, y: number): Box => {
      const left = x + gap + 3;
      return { left, top: y - HEIGHT_PX / 2, right: left + this.textOf(device).length * CHARACTER_PX + 8, bottom: y + HEIGHT_PX / 2 };
    };
    // Those of flagged devices are there whether there is room or not.
    for (const { device, x, y } of seen) if (this.flags.flagOf(device.name) !== null) taken.push(boxOf(device, x, y));
    for (const { device, x, y } of seen) {
      const box = boxOf(device, x, y);
      if (chosen.length >= MAX_LABELS || taken.some((other) => overlap(box, other))) continue;
      taken.push(box);
      chosen.push(device);
    }
    return chosen;
  }
}

function overlap(a: Box, b: Box): boolean {
  return a.left < b.right && b.left < a.right && a.top < b.bottom && b.top < a.bottom;
}
