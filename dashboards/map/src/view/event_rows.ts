/** A few events in a panel, newest first. */

import type { WaymarkEvent } from '../model.ts';
import { ageText, sentence } from '../wording.ts';
import { arrowKeys, el, say } from './dom.ts';

export class EventRows {
  readonly list = el('ol', 'rows');
  private key = '';

  constructor(private readonly onPick: (event: WaymarkEvent) => void) {
    arrowKeys(this.list);
  }

  /** Show these; cheap to call each second. */
  show(events: readonly WaymarkEvent[], now_ms: number): void {
    const key = events.map((event) => `${event.id}:${event.revision}`).join();
    if (key !== this.key) {
      this.key = key;
      this.list.replaceChildren(...events.map((event) => this.row(event)));
    }
    for (const age of this.list.querySelectorAll('time')) say(age, ageText(now_ms - Date.parse(age.dateTime)));
  }

  private row(event: WaymarkEvent): HTMLElement {
    const told = sentence(event);
    const age = el('time', 'age');
    age.dateTime = event.time;
    const button = el('button', '', el('i', 'dot'), el('span', 'text', el('b', '', told.subject), ` ${told.rest}`), el('span', 'meta', age));
    button.type = 'button';
    button.addEventListener('click', () => this.onPick(event));
    return el('li', `${event.status} ${told.tone}`, button);
  }
}
