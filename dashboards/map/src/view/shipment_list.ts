/** The shipments: which to show, a search, and what is to be known of each at a glance. */

import type { Shelf } from '../shipment_book.ts';
import { TROUBLES, type Shipment } from '../shipment_model.ts';
import { expectation, statusText, TROUBLE_NAMES, type Reader } from '../shipment_words.ts';
import { arrowKeys, byId, el, say } from './dom.ts';

const SHELF_NAMES: Readonly<Record<Shelf, string>> = { under_way: 'Under way', trouble: 'In trouble', all: 'All' };
const EMPTY: Readonly<Record<Shelf, string>> = {
  under_way: 'Nothing is under way.', trouble: 'No shipment is in trouble.', all: 'There are no shipments yet.',
};

export interface ListActions {
  shelf(shelf: Shelf): void;
  search(text: string): void;
  pick(id: string): void;
}

interface Row {
  readonly id: string;
  readonly button: HTMLButtonElement;
  readonly mark: HTMLElement;
  readonly order: HTMLElement;
  readonly when: HTMLElement;
  readonly what: HTMLElement;
  readonly badges: HTMLElement;
}

export class ShipmentList {
  private readonly list = byId('shipment-list');
  private readonly search = byId<HTMLInputElement>('shipment-search');
  private readonly shelves = new Map<Shelf, HTMLButtonElement>();
  private rows: readonly Row[] = [];

  constructor(private readonly actions: ListActions) {
    for (const [shelf, name] of Object.entries(SHELF_NAMES) as [Shelf, string][]) {
      const button = el('button', '', name);
      button.type = 'button';
      button.addEventListener('click', () => actions.shelf(shelf));
      this.shelves.set(shelf, button);
    }
    byId('shipment-shelves').replaceChildren(...this.shelves.values());
    this.search.oninput = () => actions.search(this.search.value.trim());
    this.search.onkeydown = (key) => {
      if (key.key === 'Enter') this.rows[0]?.button.click();
      if (key.key === 'ArrowDown') this.rows[0]?.button.focus();
    };
    arrowKeys(this.list);
  }

  /** How many are in trouble: on the switch between the lists, and on the tab of a narrow screen. */
  count(troubled: number, atLeast: boolean): void {
    const text = troubled === 0 ? '' : `${troubled}${atLeast ? '+' : ''}`;
    for (const badge of document.querySelectorAll<HTMLElement>('.trouble-count')) {
      say(badge, text);
      badge.hidden = troubled === 0;
      badge.title = `${text} in trouble`;
    }
  }

  show(shown: readonly Shipment[], more: boolean, shelf: Shelf, selected: string | null, reader: Reader): void {
    for (const [each, button] of this.shelves) button.setAttribute('aria-pressed', String(each === shelf));
    if (shown.length !== this.rows.length || shown.some(({ id }, i) => this.rows[i]?.id !== id)) this.rebuild(shown);
    shown.forEach((shipment, i) => fill(this.rows[i] as Row, shipment, selected, reader));
    const empty = this.search.value.trim() === '' ? EMPTY[shelf] : 'No shipment matches.';
    say(byId('shipments-note'), shown.length === 0 ? empty : more ? 'and more: search by id or order to narrow the list' : '');
  }

  tell(sentence: string): void {
    say(byId('shipments-note'), sentence);
  }

  private rebuild(shown: readonly Shipment[]): void {
    const focused = this.rows.find(({ button }) => button === document.activeElement)?.id;
    const had = new Map(this.rows.map((row) => [row.id, row]));
    this.rows = shown.map(({ id }) => had.get(id) ?? this.row(id));
    this.list.replaceChildren(...this.rows.map(({ button }) => el('li', '', button)));
    this.rows.find(({ id }) => id === focused)?.button.focus();
  }

  private row(id: string): Row {
    const [mark, order, when] = [el('i', 'way'), el('span', 'order'), el('span', 'when')];
    const [what, badges] = [el('span', 'what'), el('span', 'badges')];
    const button = el('button', '', mark, el('span', 'name', el('b', '', id), ' ', order, ' ', when), what, badges);
    button.type = 'button';
    button.addEventListener('click', () => this.actions.pick(id));
    return { id, button, mark, order, when, what, badges };
  }
}

function fill(row: Row, shipment: Shipment, selected: string | null, reader: Reader): void {
  row.mark.dataset['status'] = shipment.status;
  say(row.order, shipment.order_ref ?? '');
  say(row.when, expectation(shipment, reader));
  say(row.what, statusText(shipment));
  fillBadges(row.badges, shipment);
  row.button.toggleAttribute('aria-current', shipment.id === selected);
}

/** What is wrong with it, the worst first. */
export function fillBadges(place: HTMLElement, { exceptions }: Shipment): void {
  const key = exceptions.join();
  if (place.dataset['of'] === key) return;
  place.dataset['of'] = key;
  const found = TROUBLES.filter((each) => exceptions.includes(each)).map((each) => TROUBLE_NAMES[each]);
  place.replaceChildren(...found.map(([name, tone]) => el('em', tone, name)));
}
