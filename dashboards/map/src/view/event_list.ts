/** The events, newest first. An amendment replaces its former self; a retraction stays, struck out. */

import type { WaymarkEvent } from '../model.ts';
import { ageText, sentence } from '../wording.ts';
import { arrowKeys, byId, el, say } from './dom.ts';

const MAX_EVENTS = 200;

interface Row {
  event: WaymarkEvent;
  readonly item: HTMLLIElement;
  readonly age: HTMLElement;
}

export class EventList {
  private readonly list = byId('event-list');
  private readonly note = byId('events-note');
  private readonly rows = new Map<string, Row>();

  constructor(private readonly onSelect: (event: WaymarkEvent) => void) {
    arrowKeys(this.list);
  }

  /** Show an event unless the same or a later revision is shown. */
  add(event: WaymarkEvent): void {
    const known = this.rows.get(event.id);
    if (known !== undefined && known.event.revision >= event.revision) return;
    known?.item.remove();
    const age = el('time', 'age');
    age.dateTime = event.time;
    const row: Row = { event, item: el('li', `${event.status} ${sentence(event).tone}`, this.button(event, age)), age };
    this.rows.set(event.id, row);
    this.insert(row);
    this.fillAge(row, Date.now());
    if (this.rows.size > MAX_EVENTS) this.dropOldest();
    this.note.hidden = true;
  }

  private button(event: WaymarkEvent, age: HTMLElement): HTMLButtonElement {
    const told = sentence(event);
    const text = el('span', 'text', el('b', '', told.subject), ` ${told.rest}`);
    const line = el('span', 'meta', age);
    if (event.status === 'retracted') line.append(el('em', '', 'withdrawn'));
    else if (event.revision > 1) line.append(el('em', '', 'corrected'));
    if (event.late) line.append(el('em', '', 'reported late'));
    const button = el('button', '', el('i', 'dot'), text, line);
    button.type = 'button';
    button.title = new Date(event.time).toLocaleString();
    button.addEventListener('click', () => this.onSelect(event));
    return button;
  }

  // By the time it happened: a late event takes its place in the past, not at the top.
  private insert(row: Row): void {
    for (const item of this.list.children) {
      const time = item.querySelector('time');
      if (time !== null && time.dateTime <= row.event.time) {
        item.before(row.item);
        return;
      }
    }
    this.list.append(row.item);
  }

  private dropOldest(): void {
    const last = this.list.lastElementChild;
    for (const [id, row] of this.rows) {
      if (row.item === last) this.rows.delete(id);
    }
    last?.remove();
  }

  refreshAges(): void {
    const now_ms = Date.now();
    for (const row of this.rows.values()) this.fillAge(row, now_ms);
  }

  private fillAge(row: Row, now_ms: number): void {
    say(row.age, ageText(now_ms - Date.parse(row.event.time)));
  }
}
