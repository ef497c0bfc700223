/** The alerts of the tenant: read once, followed by events, changed by buttons. */

import { alertOf } from './alert_event.ts';
import { ApiError, type Api } from './api.ts';
import type { Alert, WaymarkEvent } from './model.ts';
import { AlertList, SHELVES, type Shelf, type Verb } from './view/alert_list.ts';

// More than these are not worked through one by one; the count then says `50+`.
const SHOWN = 50;
const SNOOZE_MS = 3_600_000;

export class AlertDesk {
  private readonly list: AlertList;
  private readonly open = new Map<string, Alert>();
  private others: Alert[] = [];
  private shelf: Shelf = 'open';
  private more = false;
  private writes = true;

  constructor(
    private readonly api: Api, private readonly asking: (ask: () => Promise<void>) => Promise<void>,
    visit: (alert: Alert) => void, private readonly opened: () => void,
  ) {
    this.list = new AlertList({
      act: (alert, verb) => void this.act(alert, verb),
      visit,
      shelf: (shelf) => void this.turnTo(shelf),
      open: () => {
        this.opened();
        void this.load();
      },
    });
  }

  /** Read the open alerts; shows the list when there are some. */
  async start(): Promise<void> {
    await this.load();
    this.list.open(this.open.size > 0);
  }

  async load(): Promise<void> {
    await this.asking(async () => {
      const alerts = await this.api.alerts(SHELVES.open, SHOWN);
      this.open.clear();
      for (const alert of alerts) this.open.set(alert.id, alert);
      this.more = alerts.length === SHOWN;
      if (this.shelf !== 'open') this.others = [...(await this.api.alerts(SHELVES[this.shelf], SHOWN))];
      this.show();
    });
  }

  hear(event: WaymarkEvent): void {
    const alert = alertOf(event);
    if (alert === null) return;
    if (event.status === 'active' && SHELVES.open.includes(alert.state)) this.open.set(alert.id, { ...this.open.get(alert.id), ...alert });
    else this.open.delete(alert.id);
    this.others = this.others.filter((each) => each.id !== alert.id);
    if (this.shelf !== 'open' && SHELVES[this.shelf].includes(alert.state)) this.others.push(alert);
    this.show();
  }

  refreshAges(): void {
    this.list.refreshAges();
  }

  private async turnTo(shelf: Shelf): Promise<void> {
    this.shelf = shelf;
    this.others = [];
    this.show();
    await this.load();
  }

  private show(): void {
    this.list.count(this.open.size, this.more);
    this.list.show(this.shelf === 'open' ? [...this.open.values()] : this.others, this.shelf, this.writes);
  }

  private async act(alert: Alert, verb: Verb): Promise<void> {
    const body = verb === 'snooze' ? { until: new Date(Date.now() + SNOOZE_MS).toISOString() } : {};
    this.list.tell('');
    await this.asking(async () => {
      try {
        await this.api.actOnAlert(alert.id, verb, body);
        this.open.delete(alert.id);
        this.others = this.others.filter((each) => each.id !== alert.id);
      } catch (error) {
        if (!(error instanceof ApiError) || error.status === 401) throw error;
        if (error.status === 403) this.writes = false;
        this.list.tell(error.message);
      } finally {
        this.show();
      }
    });
  }
}
