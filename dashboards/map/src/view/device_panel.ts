/** What is known of the selected device, and how much of its trail to draw. */

import type { Device } from '../fleet.ts';
import type { LiveState } from '../model.ts';
import { ageText, batteryText, courseText, distanceText, plain, speedText, STATE_NAMES } from '../wording.ts';
import type { Shipment } from '../shipment_model.ts';
import { expectation, towards } from '../shipment_words.ts';
import { arrowKeys, byId, el, say } from './dom.ts';
import { fillBadges } from './shipment_list.ts';

const FACTS = ['Speed', 'Heading', 'Battery', 'Odometer', 'Last heard', 'Fix quality'] as const;
type Fact = (typeof FACTS)[number];
const SPANS_H = [1, 6, 24] as const;

export class DevicePanel {
  private readonly panel = byId('device');
  private readonly name = el('h2');
  private readonly state = el('span', 'state');
  private readonly place = el('p', 'place');
  private readonly facts = new Map<Fact, HTMLElement>();
  private readonly spans = new Map<number, HTMLButtonElement>();
  private readonly trailNote = el('span', 'trail-note');
  private readonly loads = el('ul', 'inside');
  private readonly loadsTitle = el('h3');
  span_h: number = 6;

  constructor(onClose: () => void, onSpan: () => void, onCenter: () => void, private readonly onLoad: (id: string) => void) {
    const close = el('button', 'close', '×');
    close.type = 'button';
    close.title = 'Close (Esc)';
    close.setAttribute('aria-label', 'Close');
    close.addEventListener('click', onClose);
    const list = el('dl');
    for (const fact of FACTS) {
      const value = el('dd');
      this.facts.set(fact, value);
      list.append(el('div', '', el('dt', '', fact), value));
    }
    this.place.addEventListener('click', onCenter);
    arrowKeys(this.loads);
    this.panel.append(
      el('div', 'title', this.name, this.state, close), list, this.place, this.spanButtons(onSpan), this.loadsTitle, this.loads,
    );
  }

  private spanButtons(onSpan: () => void): HTMLElement {
    const row = el('div', 'spans', el('span', '', 'Trail'));
    for (const hours of SPANS_H) {
      const button = el('button', '', `${hours} h`);
      button.type = 'button';
      button.setAttribute('aria-label', `Trail of the last ${hours} hours`);
      button.addEventListener('click', () => {
        this.span_h = hours;
        this.markSpan();
        onSpan();
      });
      this.spans.set(hours, button);
      row.append(button);
    }
    row.append(this.trailNote);
    this.markSpan();
    return row;
  }

  private markSpan(): void {
    for (const [hours, button] of this.spans) button.setAttribute('aria-pressed', String(hours === this.span_h));
  }

  tellTrail(text: string): void {
    say(this.trailNote, text);
  }

  /** Show the shipments it carries; `more` when it may carry others. */
  showLoads(loads: readonly Shipment[], more: boolean, now_ms: number): void {
    say(this.loadsTitle, loads.length === 0 ? '' : `Carries ${loads.length}${more ? ' or more' : ''}`);
    this.loadsTitle.hidden = loads.length === 0;
    const rows = loads.map((load) => ({ load, words: [towards(load), expectation(load, { now_ms })].filter(Boolean).join(', ') }));
    const key = JSON.stringify(rows.map(({ load, words }) => [load.id, words, load.exceptions]));
    if (key === this.loads.dataset['of']) return;
    this.loads.dataset['of'] = key;
    this.loads.replaceChildren(...rows.map(({ load, words }) => this.loadItem(load, words)));
  }

  private loadItem(load: Shipment, words: string): HTMLElement {
    const badges = el('span', 'badges');
    fillBadges(badges, load);
    const button = el('button', 'load', el('b', '', load.id), ' ', el('span', 'age', words), ' ', badges);
    button.type = 'button';
    button.addEventListener('click', () => this.onLoad(load.id));
    return el('li', '', button);
  }

  /** Show this device as it is at `wall_ms`; null hides the panel. */
  show(device: Device | null, state: LiveState | null, wall_ms: number): void {
    this.panel.hidden = device === null;
    if (device === null || state === null) return;
    const at = device.position;
    say(this.name, device.name);
    say(this.state, STATE_NAMES[state]);
    this.state.className = `state ${state}`;
    const values: Record<Fact, string> = {
      Speed: speedText(at?.speed_mps),
      Heading: courseText(at === null ? null : (at.course_deg ?? device.to_course_deg)),
      Battery: batteryText(at?.battery),
      Odometer: distanceText(device.odometer_m),
      'Last heard': device.heard_ms === 0 ? 'never' : ageText(wall_ms - device.heard_ms),
      'Fix quality': quality(device),
    };
    for (const fact of FACTS) say(this.facts.get(fact) as HTMLElement, values[fact]);
    say(this.place, at === null ? 'No position yet' : `${at.lat.toFixed(5)}, ${at.lon.toFixed(5)}`);
    this.place.title = at === null ? '' : `fixed at ${new Date(at.fix_time).toLocaleString()}`;
  }
}

function quality(device: Device): string {
  const accuracy_m = device.position?.accuracy_m;
  const label = device.quality === '' ? '–' : plain(device.quality);
  return accuracy_m == null ? label : `${label}, ±${Math.round(accuracy_m)} m`;
}
