/**
 * Shipments at work: listed, found, selected, drawn, and read again when events say that they changed.
 *
 * What is shown is what the API told, but where it is: that moves with the device that carries it.
 */

import { ApiError, type Api } from './api.ts';
import { withEvent } from './event_log.ts';
import type { Device } from './fleet.ts';
import { toLonLat } from './geo.ts';
import type { LonLat, Position, WaymarkEvent } from './model.ts';
import { queries, ShipmentBook, type Shelf } from './shipment_book.ts';
import { Carriers } from './shipment_carriers.ts';
import { Hints, shipmentOf } from './shipment_hints.ts';
import { OPEN, type PlannedLine, type Shipment, type ShipmentDetail } from './shipment_model.ts';
import type { Reader } from './shipment_words.ts';
import { insets } from './view/layout.ts';
import type { MapView } from './view/map.ts';
import { ShipmentLayer, type Mark } from './view/shipment_layer.ts';
import { ShipmentList } from './view/shipment_list.ts';
import { isLate, lookOf, ShipmentPanel, type Seen } from './view/shipment_panel.ts';
import { cut, straight, type Way } from './way.ts';

const EVENTS_SHOWN = 20;
const SEARCH_AFTER_MS = 250;
// Progress along a route makes no event.
const LOOK_AGAIN_MS = 15_000;
// A lorry full of parcels is asked about so many of them.
const LOADS_SHOWN = 10;

export interface ShipmentPage {
  /** Run a request; a refused key ends the page, other failures are logged. */
  asking(ask: () => Promise<void>): Promise<void>;
  /** A shipment was selected, so nothing else is. */
  selected(): void;
  device(name: string): void;
  carrier(name: string): Device | undefined;
  middleOf(fence: string): Promise<LonLat | null>;
}

export class ShipmentDesk {
  private readonly book = new ShipmentBook();
  private readonly hints = new Hints();
  private readonly carriers = new Carriers();
  private readonly layer = new ShipmentLayer();
  private readonly list: ShipmentList;
  private readonly panel: ShipmentPanel;
  private shelf: Shelf = 'under_way';
  private search = '';
  private searching: ReturnType<typeof setTimeout> | undefined;
  private shown: readonly Shipment[] = [];
  private selected: string | null = null;
  private detail: ShipmentDetail | null = null;
  private looked_ms = 0;
  private line: PlannedLine | null = null;
  private events: readonly WaymarkEvent[] = [];
  private readonly fences = new Map<string, LonLat>();
  private busy = false;
  // Until the server says otherwise: it alone knows what this key may see.
  private allowed = true;

  constructor(private readonly api: Api, private readonly view: MapView, private readonly page: ShipmentPage) {
    view.under.push(this.layer);
    this.list = new ShipmentList({
      shelf: (shelf) => this.turnTo(shelf), search: (text) => this.searchFor(text), pick: (id) => void this.visit(id),
    });
    this.panel = new ShipmentPanel({
      close: () => this.deselect(), device: (name) => page.device(name),
      stop: (index) => this.lookAt(index), event: (event) => this.lookAtEvent(event),
    });
  }

  stop(): void {
    clearTimeout(this.searching);
  }

  /** The device that has the selected shipment, to be marked on the map. */
  get carrier(): string | null {
    return this.detail?.last_seen.carried_by?.device ?? null;
  }

  /** Whether a shipment is selected. */
  get focused(): boolean {
    return this.selected !== null;
  }

  /** What is wrong with what a device carries, if that is known. */
  flagOf(device: string): ReturnType<Carriers['flagOf']> {
    return this.carriers.flagOf(device);
  }

  /** Devices of which `flagOf` tells something. */
  get flagged(): Iterable<string> {
    return this.carriers.flagged;
  }

  /** News of the feed: a hint to read that shipment again. */
  hear(event: WaymarkEvent): void {
    const id = shipmentOf(event);
    if (id === null) return;
    if (id === this.selected) this.events = withEvent(this.events, event, EVENTS_SHOWN);
    // Of thousands that are not listed, another time of arrival changes nothing here.
    const listed = id === this.selected || this.book.get(id) !== undefined;
    if (listed || event.type !== 'shipment.eta_changed') this.hints.hear(id);
  }

  /** Events were missed. */
  async catchUp(): Promise<void> {
    await this.load();
    if (this.selected !== null) await this.read(this.selected, true);
  }

  everySecond(): void {
    const now_ms = Date.now();
    if (this.allowed && !this.busy && !document.hidden) void this.work(now_ms);
    this.show(now_ms);
  }

  // One piece of work at a time, so that what was read later is not overwritten by what was read before.
  private async work(now_ms: number): Promise<void> {
    if (this.selected !== null && now_ms - this.looked_ms > LOOK_AGAIN_MS) this.hints.hear(this.selected);
    const turn = this.hints.turn(now_ms, this.selected, this.carriers.lacking(this.shown, now_ms));
    if (turn !== 'list' && turn.length === 0) return;
    this.busy = true;
    if (turn === 'list') await this.load();
    else await Promise.all(turn.map((id) => this.read(id, false)));
    this.busy = false;
  }

  private async load(): Promise<void> {
    const { shelf, search } = this;
    this.hints.listed(Date.now());
    await this.page.asking(async () => {
      try {
        const parts = await Promise.all(queries(shelf, search).map((query) => this.api.shipments(query)));
        if (shelf === this.shelf && search === this.search) this.book.settle(parts);
      } catch (error) {
        if (!(error instanceof ApiError) || error.status !== 403) throw error;
        this.allowed = false;
        this.list.tell('You may not see shipments.');
      }
      this.show(Date.now());
    });
  }

  /** Read one shipment, and with `whole` its last events. */
  private async read(id: string, whole: boolean): Promise<void> {
    await this.page.asking(async () => {
      try {
        const [shipment, events] = await Promise.all([this.api.shipment(id), whole ? this.api.shipmentEvents(id, EVENTS_SHOWN) : []]);
        this.take(shipment);
        if (id === this.selected) await this.takeSelected(shipment, events);
      } catch (error) {
        if (!(error instanceof ApiError) || error.status !== 404) throw error;
        this.book.drop(id);
        if (id === this.selected) this.deselect();
      }
    });
  }

  private take(shipment: ShipmentDetail): void {
    this.book.put(shipment);
    this.carriers.put(shipment, Date.now());
  }

  private async takeSelected(shipment: ShipmentDetail, events: readonly WaymarkEvent[]): Promise<void> {
    this.detail = shipment;
    this.looked_ms = Date.now();
    for (const event of events) this.events = withEvent(this.events, event, EVENTS_SHOWN);
    if (shipment.route === null) this.line = null;
    else if (this.line?.version !== shipment.version) this.line = await this.api.plannedLine(shipment.id);
    for (const { fence } of shipment.stops) {
      const middle = fence === null || this.fences.has(fence) ? null : await this.page.middleOf(fence);
      if (fence !== null && middle !== null) this.fences.set(fence, middle);
    }
    if (shipment !== this.detail) return;
    this.draw();
    this.show(Date.now());
  }

  private turnTo(shelf: Shelf): void {
    this.shelf = shelf;
    this.show(Date.now());
    void this.load();
  }

  private searchFor(text: string): void {
    // Who looks for one does not care on which shelf it is.
    if (this.search === '' && text !== '') this.shelf = 'all';
    this.search = text;
    this.show(Date.now());
    clearTimeout(this.searching);
    this.searching = setTimeout(() => void this.load(), SEARCH_AFTER_MS);
  }

  private show(now_ms: number): void {
    const reader: Reader = { now_ms };
    const { shown, more } = this.book.rows(this.shelf, this.search);
    this.shown = shown;
    this.carriers.flag(shown);
    const { count, more: atLeast } = this.book.troubled();
    this.list.count(count, atLeast);
    if (this.allowed) this.list.show(shown, more, this.shelf, this.selected, reader);
    this.panel.show(this.detail, this.seen(), this.events, reader);
  }

  // Selecting.

  /** Select a shipment and bring it into view. */
  async visit(id: string): Promise<void> {
    if (id !== this.selected) {
      this.deselect();
      this.selected = id;
      this.page.selected();
      await this.read(id, true);
    }
    if (id === this.selected && this.detail !== null) this.fly();
  }

  deselect(): void {
    if (this.selected === null) return;
    this.selected = null;
    this.detail = this.line = null;
    this.events = [];
    this.layer.draw(null);
    this.layer.stray(null);
    this.show(Date.now());
  }

  /** Those of the open shipments that a device carries now, and whether there may be more. */
  async loadsOf(device: string): Promise<{ loads: readonly Shipment[]; more: boolean }> {
    if (!this.allowed) return { loads: [], more: false };
    // The list tells whose device it ever was, the shipment who has it now.
    const { items, more } = await this.api.shipments({ device, status: OPEN });
    const asked = await Promise.all(items.slice(0, LOADS_SHOWN).map(({ id }) => this.api.shipment(id)));
    for (const each of asked) this.take(each);
    const loads = asked.filter(({ last_seen }) => last_seen.carried_by?.device === device);
    return { loads, more: more || items.length > LOADS_SHOWN };
  }

  // On the map.

  /** These have moved; whoever carries the selected shipment may be among them. */
  moved(positions: readonly Position[]): void {
    const { carrier } = this;
    if (positions.some(({ device }) => device === carrier)) this.drawStray();
  }

  private drawStray(): void {
    const { route } = this.detail ?? {};
    const at = this.place();
    const from = route?.off_route && this.coordinates.length > 0 ? cut(this.coordinates, this.part()).at : null;
    this.layer.stray(from !== null && at !== null ? [from, at] : null);
  }

  private get coordinates(): readonly LonLat[] {
    return this.line?.route?.line.coordinates ?? [];
  }

  private part(): number {
    const { route } = this.detail ?? {};
    return route?.progress_m == null || route.length_m === 0 ? 0 : route.progress_m / route.length_m;
  }

  private seen(): Seen | null {
    const { position, carried_by, stale = true } = this.detail?.last_seen ?? {};
    const live = this.page.carrier(carried_by?.device ?? '')?.position;
    if (live != null) return { device: live.device, fix_ms: Date.parse(live.fix_time), stale };
    return position == null ? null : { device: position.device, fix_ms: Date.parse(position.fix_time), stale };
  }

  private place(): LonLat | null {
    const live = this.page.carrier(this.carrier ?? '');
    if (live != null && live.position !== null) return toLonLat(live.to);
    const { position } = this.detail?.last_seen ?? {};
    return position == null ? null : [position.lon, position.lat];
  }

  private placeOf(index: number): LonLat | null {
    const { place = null, fence = null } = this.detail?.stops[index] ?? {};
    return place === null ? (this.fences.get(fence ?? '') ?? null) : [place.lon, place.lat];
  }

  private draw(): void {
    const { detail } = this;
    if (detail === null) return;
    const marks = detail.stops.flatMap((stop, i): Mark[] => {
      const at = this.placeOf(i);
      return at === null ? [] : [{ at, number: i + 1, look: lookOf(detail, i), late: isLate(detail, i), name: stop.name }];
    });
    this.layer.draw({ ...this.wayOf(marks), marks });
    this.drawStray();
  }

  private wayOf(marks: readonly Mark[]): Way {
    if (this.coordinates.length > 0) return { ...cut(this.coordinates, this.part()), planned: true };
    const placesOf = (done: boolean): LonLat[] => marks.filter(({ look }) => (look === 'done') === done).map(({ at }) => at);
    return straight(placesOf(true), placesOf(false), this.place());
  }

  private fly(): void {
    const here = this.place();
    const stops = this.detail?.stops.map((_, i) => this.placeOf(i)) ?? [];
    const places = [...stops, here, ...this.coordinates].filter((place) => place !== null);
    if (places.length === 0) return;
    const [lons, lats] = [places.map(([lon]) => lon), places.map(([, lat]) => lat)];
    const least = (values: number[]): number => values.reduce((a, b) => Math.min(a, b));
    const most = (values: number[]): number => values.reduce((a, b) => Math.max(a, b));
    this.view.flyToBox([least(lons), least(lats), most(lons), most(lats)], insets());
  }

  private lookAt(index: number): void {
    const at = this.placeOf(index);
    if (at !== null) this.view.flyToPlace(at, insets());
  }

  private lookAtEvent(event: WaymarkEvent): void {
    const { lon, lat } = event.data;
    if (typeof lon === 'number' && typeof lat === 'number') this.view.flyToPlace([lon, lat], insets());
  }
}
