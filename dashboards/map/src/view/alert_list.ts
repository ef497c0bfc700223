/** The alerts, their count in the bar and in the page's title, and what can be done about each. */

import { SEVERITIES, type Alert, type AlertState } from '../model.ts';
import { ageText, alertText, plain } from '../wording.ts';
import { arrowKeys, byId, el, say } from './dom.ts';

export type Verb = 'acknowledge' | 'snooze' | 'resolve';
/** What the list shows: those that want somebody, those somebody took up, those put off. */
export type Shelf = 'open' | 'acknowledged' | 'snoozed';

export const SHELVES: Readonly<Record<Shelf, readonly AlertState[]>> = {
  open: ['open', 'escalated'], acknowledged: ['acknowledged'], snoozed: ['snoozed'],
};
const SHELF_NAMES: Readonly<Record<Shelf, string>> = { open: 'Open', acknowledged: 'Taken up', snoozed: 'Snoozed' };
const EMPTY: Readonly<Record<Shelf, string>> = {
  open: 'No alert is open.', acknowledged: 'Nobody has taken up an alert.', snoozed: 'No alert is snoozed.',
};
const VERBS: Readonly<Record<Shelf, readonly (readonly [Verb, string])[]>> = {
  open: [['acknowledge', 'Acknowledge'], ['snooze', 'Snooze 1 h'], ['resolve', 'Resolve']],
  acknowledged: [['snooze', 'Snooze 1 h'], ['resolve', 'Resolve']],
  snoozed: [['acknowledge', 'Acknowledge'], ['resolve', 'Resolve']],
};
const TITLE = document.title;

export interface AlertActions {
  act(alert: Alert, verb: Verb): void;
  visit(alert: Alert): void;
  shelf(shelf: Shelf): void;
  open(): void;
}

export class AlertList {
  private readonly card = byId('alerts');
  private readonly list = byId('alert-list');
  private readonly note = byId('alerts-note');
  private readonly bell = byId<HTMLButtonElement>('bell');
  private readonly shelves = new Map<Shelf, HTMLButtonElement>();
  private readonly fault = byId('alerts-fault');
  private rows: { alert: Alert; age: HTMLElement }[] = [];

  constructor(private readonly actions: AlertActions) {
    const row = byId('alert-shelves');
    row.replaceChildren();
    for (const [shelf, name] of Object.entries(SHELF_NAMES) as [Shelf, string][]) {
      const button = el('button', '', name);
      button.type = 'button';
      button.addEventListener('click', () => actions.shelf(shelf));
      this.shelves.set(shelf, button);
      row.append(button);
    }
    this.bell.onclick = () => {
      // On a narrow screen it may be open behind another tab.
      const opens = this.card.offsetParent === null;
      this.open(opens);
      if (opens) actions.open();
    };
    arrowKeys(this.list);
  }

  open(open: boolean): void {
    this.card.hidden = !open;
    this.bell.setAttribute('aria-expanded', String(open));
  }

  /** The number of open alerts: on the bell, on the tab of a narrow screen, and in the page's title. */
  count(open: number, atLeast: boolean): void {
    const text = open === 0 ? '' : `${open}${atLeast ? '+' : ''}`;
    for (const badge of document.querySelectorAll<HTMLElement>('.alert-count')) {
      say(badge, text);
      badge.hidden = open === 0;
    }
    this.bell.setAttribute('aria-label', open === 0 ? 'No open alerts' : `${text} open alerts`);
    document.title = open === 0 ? TITLE : `(${text}) ${TITLE}`;
  }

  show(alerts: readonly Alert[], shelf: Shelf, writes: boolean): void {
    for (const [each, button] of this.shelves) button.setAttribute('aria-pressed', String(each === shelf));
    const focused = (document.activeElement as HTMLElement | null)?.closest<HTMLElement>('#alert-list li')?.dataset['alert'];
    const sorted = [...alerts].sort(
      (a, b) => SEVERITIES.indexOf(a.severity) - SEVERITIES.indexOf(b.severity) || Date.parse(b.opened_at) - Date.parse(a.opened_at),
    );
    this.rows = [];
    this.list.replaceChildren(...sorted.map((alert) => this.row(alert, shelf, writes)));
    if (focused !== undefined) this.refocus(focused);
    say(this.note, alerts.length === 0 ? EMPTY[shelf] : '');
    this.refreshAges();
  }

  // To the same alert, or when it is gone to the first, so that the keyboard keeps its place.
  private refocus(id: string): void {
    const items = [...this.list.querySelectorAll<HTMLElement>('li')];
    (items.find((item) => item.dataset['alert'] === id) ?? items[0])?.querySelector('button')?.focus();
  }

  private row(alert: Alert, shelf: Shelf, writes: boolean): HTMLElement {
    const age = el('time', 'age');
    age.dateTime = alert.opened_at;
    this.rows.push({ alert, age });
    const what = el('button', 'what', el('i', 'dot'), el('span', 'text', el('b', '', alert.device), ` ${alertText(alert)}`));
    what.type = 'button';
    what.title = new Date(alert.opened_at).toLocaleString();
    what.addEventListener('click', () => this.actions.visit(alert));
    const word = alert.state === 'escalated' ? `${alert.severity}, escalated` : alert.severity;
    const meta = el('span', 'meta', el('em', 'severity', word), el('span', '', plain(alert.rule)), age);
    const item = el('li', `${alert.severity}`, what, meta);
    item.dataset['alert'] = alert.id;
    if (alert.note) item.append(el('p', 'said', alert.note));
    if (writes) item.append(el('div', 'row', ...VERBS[shelf].map(([verb, label]) => this.verb(alert, verb, label))));
    return item;
  }

  private verb(alert: Alert, verb: Verb, label: string): HTMLElement {
    const button = el('button', '', label);
    button.type = 'button';
    button.setAttribute('aria-label', `${label}: ${alert.device} ${alertText(alert)}`);
    button.addEventListener('click', () => {
      button.disabled = true;
      this.actions.act(alert, verb);
    });
    return button;
  }

  tell(sentence: string): void {
    say(this.fault, sentence);
  }

  refreshAges(): void {
    const now_ms = Date.now();
    for (const { alert, age } of this.rows) say(age, ageText(now_ms - Date.parse(alert.opened_at)));
  }
}
