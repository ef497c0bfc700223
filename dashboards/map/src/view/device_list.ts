/** Counts by live state, which are also filters, and the searchable list of devices. */

import type { Device, Fleet } from '../fleet.ts';
import { LIVE_STATES, type LiveState } from '../model.ts';
import { speedText, STATE_NAMES } from '../wording.ts';
import { arrowKeys, byId, el, say } from './dom.ts';

// More rows than anyone scrolls through; the search narrows the rest.
const MAX_ROWS = 100;
const collator = new Intl.Collator('en', { numeric: true });

// Those that are nowhere on the map come last.
function byPlaceAndName(a: Device, b: Device): number {
  return Number(a.position === null) - Number(b.position === null) || collator.compare(a.name, b.name);
}

interface Row {
  readonly button: HTMLButtonElement;
  readonly speed: HTMLElement;
  readonly device: Device;
}

export class DeviceList {
  private readonly chips = new Map<LiveState, { button: HTMLButtonElement; count: HTMLElement }>();
  private readonly list = byId('devices');
  private readonly search = byId<HTMLInputElement>('search');
  private rows: Row[] = [];
  private sorted: Device[] = [];
  private placed = 0;
  private only: LiveState | null = null;

  constructor(
    private readonly fleet: Fleet, private readonly stateOf: (device: Device) => LiveState,
    private readonly onSelect: (device: Device) => void, private readonly onFilter: () => void,
  ) {
    for (const state of LIVE_STATES) {
      const count = el('b', '', '0');
      const button = el('button', '', el('i', `mark ${state}`), count, el('span', '', STATE_NAMES[state]));
      button.type = 'button';
      button.setAttribute('aria-pressed', 'false');
      button.addEventListener('click', () => this.toggle(state));
      this.chips.set(state, { button, count });
      byId('counts').append(button);
    }
    this.search.addEventListener('input', () => this.filtered());
    this.search.addEventListener('keydown', (key) => {
      if (key.key === 'Enter') this.rows[0]?.button.click();
      if (key.key === 'ArrowDown') this.rows[0]?.button.focus();
    });
    arrowKeys(this.list);
  }

  /** Whether the filters in force let the device be seen. */
  shows(device: Device, state: LiveState): boolean {
    const wanted = this.only === null || (state === this.only && device.position !== null);
    return wanted && this.matches(device);
  }

  private matches(device: Device): boolean {
    const wanted = this.search.value.trim().toLowerCase();
    return wanted === '' || device.name.toLowerCase().includes(wanted);
  }

  private toggle(state: LiveState): void {
    this.only = this.only === state ? null : state;
    for (const [each, chip] of this.chips) chip.button.setAttribute('aria-pressed', String(each === this.only));
    this.filtered();
  }

  private filtered(): void {
    this.refresh(this.fleet.counts(Date.now()), null);
    this.onFilter();
  }

  /** Bring counts and rows up to date. Cheap enough for once a second with 10,000 devices. */
  refresh(counts: Record<LiveState, number>, selected: Device | null): void {
    for (const [state, chip] of this.chips) say(chip.count, counts[state].toLocaleString('en'));
    const placed = counts.moving + counts.stopped + counts.stale + counts.offline;
    if (this.sorted.length !== this.fleet.devices.size || this.placed !== placed) {
      this.placed = placed;
      this.sorted = [...this.fleet.devices.values()].sort(byPlaceAndName);
    }
    const shown: Device[] = [];
    let found = 0;
    for (const device of this.sorted) {
      if (!this.shows(device, this.stateOf(device))) continue;
      found += 1;
      if (shown.length < MAX_ROWS) shown.push(device);
    }
    if (shown.length !== this.rows.length || shown.some((device, i) => this.rows[i]?.device !== device)) this.rebuild(shown);
    for (const row of this.rows) this.fill(row, selected);
    say(byId('devices-note'), noteOf(this.sorted.length, found));
  }

  private rebuild(shown: Device[]): void {
    const focused = this.rows.find((row) => row.button === document.activeElement)?.device;
    this.rows = shown.map((device) => {
      const speed = el('span', 'speed');
      const button = el('button', '', el('i', 'mark'), el('span', 'name', device.name), speed);
      button.type = 'button';
      button.addEventListener('click', () => this.onSelect(device));
      return { button, speed, device };
    });
    this.list.replaceChildren(...this.rows.map((row) => el('li', '', row.button)));
    if (focused) this.rows.find((row) => row.device === focused)?.button.focus();
  }

  private fill(row: Row, selected: Device | null): void {
    const state = row.device.position === null ? 'nowhere' : this.stateOf(row.device);
    const mark = row.button.firstElementChild as HTMLElement;
    if (mark.dataset['state'] !== state) {
      mark.className = `mark ${state}`;
      mark.dataset['state'] = state;
    }
    say(row.speed, detail(row.device, state));
    row.button.toggleAttribute('aria-current', row.device === selected);
  }
}

function detail(device: Device, state: LiveState | 'nowhere'): string {
  if (state === 'nowhere') return 'No position';
  return state === 'moving' ? speedText(device.position?.speed_mps) : STATE_NAMES[state];
}

function noteOf(known: number, found: number): string {
  if (known === 0) return 'No device has reported yet.';
  if (found === 0) return 'No device matches.';
  return found > MAX_ROWS ? `and ${(found - MAX_ROWS).toLocaleString('en')} more: search to narrow the list` : '';
}
