/** The selected shipment: when it will be where and how sure that is, where it was seen, its stops, what happened. */

import type { WaymarkEvent } from '../model.ts';
import type { ShipmentDetail, StopDetail } from '../shipment_model.ts';
import {
  actualText, certainty, clockOf, clockText, etaOf, expectation, KIND_NAMES, nextStop, rangeText, STATUS_NAMES, towards, wayText,
  whyUnknown, windowText, zoneOf, type Reader,
} from '../shipment_words.ts';
import { ageText } from '../wording.ts';
import { byId, el, say } from './dom.ts';
import { EventRows } from './event_rows.ts';
import { fillBadges } from './shipment_list.ts';

/** Where it was last seen, when, and by which device. */
export interface Seen {
  readonly device: string;
  readonly fix_ms: number;
  /** Whoever that was may have left it elsewhere by now. */
  readonly stale: boolean;
}

export interface ShipmentActions {
  close(): void;
  device(name: string): void;
  stop(index: number): void;
  event(event: WaymarkEvent): void;
}

export class ShipmentPanel {
  private readonly panel = byId('shipment');
  private readonly name = el('h2');
  private readonly status = el('span', 'state');
  private readonly order = el('p', 'place');
  private readonly badges = el('p', 'badges');
  private readonly towards = el('p', 'towards');
  private readonly when = el('p', 'when');
  private readonly sure = el('p', 'note');
  private readonly because = el('p', 'note');
  private readonly bar = el('progress');
  private readonly way = el('p', 'note');
  private readonly seen = el('button', 'seen');
  private readonly stops = el('ol', 'stops');
  private readonly clock = el('p', 'note');
  private readonly quiet = el('p', 'note', 'Nothing has happened to it yet.');
  private readonly events: EventRows;
  private device = '';
  private stopsKey = '';

  constructor(private readonly actions: ShipmentActions) {
    const close = el('button', 'close', '×');
    close.type = this.seen.type = 'button';
    close.title = 'Close (Esc)';
    close.setAttribute('aria-label', 'Close');
    close.addEventListener('click', () => actions.close());
    this.seen.addEventListener('click', () => actions.device(this.device));
    this.events = new EventRows((event) => actions.event(event));
    this.bar.max = 1;
    this.bar.setAttribute('aria-label', 'Driven of its route');
    this.panel.replaceChildren(
      el('div', 'title', this.name, this.status, close), this.order, this.badges,
      el('div', 'expected', this.towards, this.when, this.sure, this.because), this.bar, this.way, this.seen,
      el('h3', '', 'Stops'), this.stops, this.clock, el('h3', '', 'Last events'), this.events.list, this.quiet,
    );
  }

  /** Show this shipment; null hides the panel. Cheap to call each second. */
  show(shipment: ShipmentDetail | null, seen: Seen | null, events: readonly WaymarkEvent[], reader: Reader): void {
    this.panel.hidden = shipment === null;
    if (shipment === null) return;
    say(this.name, shipment.id);
    say(this.status, STATUS_NAMES[shipment.status]);
    this.status.dataset['status'] = shipment.status;
    say(this.order, shipment.order_ref === null ? '' : `Order ${shipment.order_ref}`);
    fillBadges(this.badges, shipment);
    const clock = clockOf(shipment.stops, reader);
    say(this.when, expectation(shipment, reader));
    this.showExpected(shipment, clock.reader);
    this.showWay(shipment);
    this.showSeen(shipment, seen, reader.now_ms);
    this.showStops(shipment, clock.reader);
    say(this.clock, clock.note);
    this.quiet.hidden = events.length > 0;
    this.events.show(events, reader.now_ms);
  }

  private showExpected(shipment: ShipmentDetail, reader: Reader): void {
    const { eta } = shipment;
    const going = towards(shipment);
    say(this.towards, going.charAt(0).toUpperCase() + going.slice(1));
    const stop = nextStop(shipment);
    const told = shipment.at_stop === null ? etaOf(eta, shipment.next_stop ?? -1) : null;
    say(this.sure, told === null || stop === null ? whyUnknown(shipment, shipment.last_seen) : certainty(told, zoneOf(stop), reader));
    const age = eta.told_at === null ? '' : ` (${ageText(reader.now_ms - Date.parse(eta.told_at))})`;
    say(this.because, eta.because === null ? '' : `${eta.because}${age}`);
  }

  private showWay(shipment: ShipmentDetail): void {
    const { route } = shipment;
    this.bar.hidden = route === null || route.progress_m === null || route.length_m === 0;
    this.bar.value = (route?.progress_m ?? 0) / Math.max(1, route?.length_m ?? 1);
    say(this.way, shipment.eta.state === 'over' ? '' : wayText(shipment));
  }

  private showSeen(shipment: ShipmentDetail, seen: Seen | null, now_ms: number): void {
    this.device = seen?.device ?? '';
    this.seen.disabled = seen === null;
    const via = shipment.last_seen.carried_by?.via.map((each) => each.replace('/', ' ')).join(', ') ?? '';
    const where = seen === null ? 'Nobody has seen it yet' : `Last seen ${ageText(now_ms - seen.fix_ms)} by ${seen.device}`;
    say(this.seen, `${where}${via === '' ? '' : `, on ${via}`}${seen?.stale ? '; it may be elsewhere by now' : ''}`);
  }

  private showStops(shipment: ShipmentDetail, reader: Reader): void {
    const lines = shipment.stops.map((stop, i) => this.linesOf(shipment, stop, i, reader));
    const key = JSON.stringify([shipment.id, lines]);
    if (key === this.stopsKey) return;
    this.stopsKey = key;
    const focused = [...this.stops.querySelectorAll('button')].indexOf(document.activeElement as HTMLButtonElement);
    this.stops.replaceChildren(...shipment.stops.map((stop, i) => this.stopItem(shipment, stop, i, lines[i] ?? [])));
    this.stops.querySelectorAll('button')[focused]?.focus();
  }

  private linesOf(shipment: ShipmentDetail, stop: StopDetail, index: number, reader: Reader): string[] {
    const told = etaOf(shipment.eta, index);
    const expected = told === null ? '' : `expected ${rangeText(told.early, told.late, zoneOf(stop), reader)}`;
    const leaving = shipment.at_stop === index && stop.depart.estimated !== null ? `leaves ${clockText(stop.depart.estimated, zoneOf(stop), reader)}` : '';
    const late = stop.delayed ? 'late' : shipment.eta.at_risk.includes(index) ? 'will probably be late' : '';
    return [[actualText(stop, reader) || expected, leaving, late].filter(Boolean).join(', '), windowText(stop, reader, 'planned ')].filter(Boolean);
  }

  private stopItem(shipment: ShipmentDetail, stop: StopDetail, index: number, lines: readonly string[]): HTMLElement {
    const number = el('i', 'number', String(index + 1));
    const title = el('span', 'name', el('b', '', stop.name), ` ${stop.name.toLowerCase().startsWith(stop.kind) ? '' : KIND_NAMES[stop.kind]}`);
    const button = el('button', '', number, title, ...lines.map((line) => el('span', 'line', line)));
    button.type = 'button';
    button.addEventListener('click', () => this.actions.stop(index));
    const item = el('li', lookOf(shipment, index), button);
    item.classList.toggle('late', isLate(shipment, index));
    return item;
  }
}

/** What a stop is to its shipment: behind it, where it is or goes next, or further ahead. */
export function lookOf(shipment: ShipmentDetail, index: number): 'done' | 'next' | 'ahead' {
  if (shipment.stops[index]?.done) return 'done';
  return index === (shipment.at_stop ?? shipment.next_stop) ? 'next' : 'ahead';
}

/** Whether a stop's window is missed or will hardly be kept. */
export function isLate(shipment: ShipmentDetail, index: number): boolean {
  return (shipment.stops[index]?.delayed ?? false) || shipment.eta.at_risk.includes(index);
}
