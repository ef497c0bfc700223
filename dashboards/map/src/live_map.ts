/**
 * The page at work for one credential: news from the feed goes into the fleet, the fleet onto the map.
 *
 * One instance drives the page's elements; a second one takes them over after the first has ended.
 */

import { AlertDesk } from './alert_desk.ts';
import { ApiError, type Api } from './api.ts';
import type { Credential } from './credential.ts';
import { FenceDesk } from './fence_desk.ts';
import { Feed, type FeedStatus } from './feed.ts';
import { Fleet, liveState, placeAt, type Device, type Now } from './fleet.ts';
import { toLonLat } from './geo.ts';
import type { Alert, LiveState, Position, WaymarkEvent } from './model.ts';
import { ShipmentDesk } from './shipment_desk.ts';
import { shipmentOf } from './shipment_hints.ts';
import { browserWorld } from './socket.ts';
import { byId, say } from './view/dom.ts';
import { DeviceList } from './view/device_list.ts';
import { DevicePanel } from './view/device_panel.ts';
import { EventList } from './view/event_list.ts';
import { FleetLayer } from './view/fleet_layer.ts';
import { Labels } from './view/labels.ts';
import { MapView } from './view/map.ts';
import { insets, Tabs } from './view/layout.ts';
import { StatusLine } from './view/status_line.ts';
import { onThemeChange, readTheme } from './view/theme.ts';

const EVENTS_SHOWN = 100;
// Odometer and connection come with the device list, not with positions.
const DESCRIBE_EVERY_MS = 15_000;

const now = (): Now => ({ page_s: performance.now() / 1000, wall_ms: Date.now() });
const page_s = (): number => performance.now() / 1000;

/** What a test, or a curious person, may read of the page. */
export interface Glimpse {
  readonly deviceCount: number;
  readonly status: FeedStatus['kind'];
  readonly events: number;
  readonly frames: number;
  /** Fences known, whether in view or not. */
  readonly fences: number;
  /** Where on the page a place is. */
  project(lon: number, lat: number): { x: number; y: number };
  /** The smallest fence drawn at a point of the page. */
  fenceAt(at: { x: number; y: number }): string | null;
  positions(): { device: string; lon: number; lat: number; state: LiveState; fix_time: string }[];
}

declare global {
  interface Window {
    waymark?: Glimpse;
  }
}

export class LiveMap {
  private readonly fleet = new Fleet(!matchMedia('(prefers-reduced-motion: reduce)').matches);
  private readonly theme = readTheme();
  private readonly layer = new FleetLayer(this.theme.fleet, page_s);
  private readonly view = new MapView(byId('map'), this.theme, this.layer, this.fleet, page_s);
  private readonly list = new DeviceList(
    this.fleet, (device) => this.stateOf(device), (device) => this.select(device, true), () => this.redrawAll(),
  );
  private readonly panel = new DevicePanel(
    () => this.select(null, false), () => void this.loadTrail(), () => this.center(), (id) => void this.shipments.visit(id),
  );
  private readonly events = new EventList((event) => this.visit(event));
  private readonly status = new StatusLine();
  private readonly tabs = new Tabs();
  private readonly fences: FenceDesk;
  private readonly alerts: AlertDesk;
  private readonly shipments: ShipmentDesk;
  private readonly feed: Feed;
  private readonly looks = new Map<Device, LiveState>();
  private selected: Device | null = null;
  private framed = false;
  private eventCount = 0;
  private frames = 0;
  private described_ms = 0;
  private refused: (message: string) => void = () => {};

  constructor(private readonly api: Api, private readonly credential: Credential) {
    const asking = (ask: () => Promise<void>): Promise<void> => this.asking(ask);
    this.fences = new FenceDesk(api, this.view, {
      asking,
      selectDevice: (name) => {
        this.shipments.deselect();
        this.select(this.fleet.devices.get(name ?? '') ?? null, name !== null);
      },
      visit: (event) => this.visit(event),
    });
    this.shipments = new ShipmentDesk(api, this.view, {
      asking,
      selected: () => {
        this.fences.select(null);
        this.select(null, false);
        this.tabs.open('map');
      },
      device: (name) => this.visitDevice(name),
      carrier: (name) => this.fleet.devices.get(name),
      middleOf: (fence) => this.fences.middleOf(fence),
    });
    this.alerts = new AlertDesk(api, asking, (alert) => this.visitAlert(alert), () => this.tabs.open('alerts'));
    this.feed = new Feed(credential, {
      positions: (positions, live) => this.takePositions(positions, live),
      event: (event) => this.takeEvent(event),
      gap: () => void this.catchUp(),
      status: (status) => this.takeStatus(status),
    }, browserWorld());
    credential.onToken((token) => this.feed.showToken(token));
  }

  /** Work until the server refuses the credential, or somebody signs out; answers with the reason. */
  async run(): Promise<string> {
    const refusal = new Promise<string>((resolve) => (this.refused = resolve));
    new Labels(this.view.map, this.fleet, this.layer, this.shipments, page_s);
    this.listen();
    this.glimpse();
    this.feed.start();
    const second = setInterval(() => this.everySecond(), 1000);
    let frame = requestAnimationFrame(function each(this: LiveMap) {
      if (this.layer.isBusy()) this.view.map.triggerRepaint();
      frame = requestAnimationFrame(each.bind(this));
    }.bind(this));
    void this.loadEvents();
    void this.alerts.start();
    void this.describe();
    void this.loadStyle();
    const message = await refusal;
    clearInterval(second);
    cancelAnimationFrame(frame);
    this.feed.stop();
    this.fences.stop();
    this.shipments.stop();
    this.view.map.remove();
    return message;
  }

  private stateOf(device: Device): LiveState {
    return liveState(device, Date.now());
  }

  private takePositions(positions: readonly Position[], live: boolean): void {
    const at = now();
    this.status.heard(at.wall_ms);
    for (const position of positions) {
      const moved = this.fleet.place(position, at, live);
      const device = this.fleet.device(position.device);
      this.redraw(device, moved);
      if (moved && device === this.selected) {
        this.view.extendTrail({ at: [position.lon, position.lat], fix_ms: Date.parse(position.fix_time) });
      }
    }
    this.shipments.moved(positions);
    this.view.map.triggerRepaint();
    if (!this.framed && this.fleet.devices.size > 0) this.frame();
  }

  private frame(): void {
    this.framed = true;
    this.view.fit(insets(), 0);
    this.everySecond();
  }

  private takeEvent(event: WaymarkEvent): void {
    this.status.heard(Date.now());
    this.eventCount += 1;
    this.fleet.hear(event);
    this.events.add(event);
    this.fences.hear(event);
    this.alerts.hear(event);
    this.shipments.hear(event);
    const device = this.fleet.devices.get(event.subject);
    if (device !== undefined) this.redraw(device, false);
  }

  private takeStatus(status: FeedStatus): void {
    this.status.show(status);
    if (status.kind === 'refused') this.refused(status.message);
  }

  private redraw(device: Device, moved: boolean): void {
    const state = this.stateOf(device);
    this.looks.set(device, state);
    this.layer.put(device, state, !this.list.shows(device, state), moved);
  }

  private redrawAll(): void {
    for (const device of this.fleet.devices.values()) this.redraw(device, false);
    this.view.map.triggerRepaint();
  }

  private everySecond(): void {
    const wall_ms = Date.now();
    this.layer.spacing = this.fleet.spacing();
    for (const device of this.fleet.devices.values()) {
      if (this.looks.get(device) !== liveState(device, wall_ms)) this.redraw(device, false);
    }
    this.list.refresh(this.fleet.counts(wall_ms), this.selected);
    this.panel.show(this.selected, this.selected && this.stateOf(this.selected), wall_ms);
    this.fences.everySecond();
    this.shipments.everySecond();
    this.layer.selected = this.selected ?? this.fleet.devices.get(this.shipments.carrier ?? '') ?? null;
    this.events.refreshAges();
    this.alerts.refreshAges();
    this.status.refresh(wall_ms);
    this.view.map.triggerRepaint();
    if (wall_ms - this.described_ms > DESCRIBE_EVERY_MS && this.selected !== null) {
      void this.describe(this.selected.name);
      void this.loadLoads();
    }
  }

  /** Select a device, or none. `fly` also brings it into view. */
  private select(device: Device | null, fly: boolean): void {
    const changed = device !== this.selected;
    this.selected = device;
    if (device === null || changed) this.view.setTrail([]);
    if (device !== null) {
      this.fences.select(null);
      this.shipments.deselect();
    }
    if (device !== null && changed) {
      this.panel.showLoads([], false, 0);
      void this.loadTrail();
      void this.loadLoads();
      void this.describe(device.name);
    }
    this.everySecond();
    if (device !== null && fly) {
      this.tabs.open('map');
      this.view.flyTo(device, insets());
    }
  }

  private center(): void {
    if (this.selected !== null) this.view.flyTo(this.selected, insets());
  }

  private visit(event: WaymarkEvent): void {
    const shipment = shipmentOf(event);
    if (shipment === null) this.visitDevice(event.subject);
    else void this.shipments.visit(shipment);
  }

  private visitDevice(name: string): void {
    const device = this.fleet.devices.get(name);
    if (device !== undefined) this.select(device, true);
  }

  private visitAlert(alert: Alert): void {
    if (this.fleet.devices.has(alert.device)) this.visitDevice(alert.device);
    else if (alert.fence) void this.fences.visit(alert.fence);
  }

  private async loadTrail(): Promise<void> {
    const device = this.selected;
    if (device === null || device.position === null) return;
    // Back from its own last fix: a device that is silent, or a replay of last year, has a trail too.
    const from = new Date(Date.parse(device.position.fix_time) - this.panel.span_h * 3_600_000);
    this.panel.tellTrail('…');
    await this.asking(async () => {
      const points = await this.api.trail(device.name, from);
      if (device !== this.selected) return;
      this.view.setTrail(points);
      this.panel.tellTrail(points.length === 1 ? '1 fix' : `${points.length.toLocaleString('en')} fixes`);
    }, () => this.panel.tellTrail('not available'));
  }

  private async loadLoads(): Promise<void> {
    const device = this.selected;
    if (device === null) return;
    await this.asking(async () => {
      const { loads, more } = await this.shipments.loadsOf(device.name);
      if (device === this.selected) this.panel.showLoads(loads, more, Date.now());
    });
  }

  private async catchUp(): Promise<void> {
    await Promise.all([this.loadEvents(), this.alerts.load(), this.fences.catchUp(), this.shipments.catchUp()]);
  }

  private async loadEvents(): Promise<void> {
    await this.asking(async () => {
      const recent = await this.api.recentEvents(EVENTS_SHOWN);
      for (const event of recent.toReversed()) {
        this.events.add(event);
        this.fences.hear(event);
      }
    });
  }

  /** Read what positions do not tell: of one device, or of all. */
  private async describe(name?: string): Promise<void> {
    this.described_ms = Date.now();
    await this.asking(async () => {
      const summaries = name === undefined ? await this.api.devices() : [await this.api.device(name)];
      const at = now();
      for (const summary of summaries) {
        this.fleet.describe(summary, at);
        this.redraw(this.fleet.device(summary.name), false);
      }
      if (!this.framed && this.fleet.devices.size > 0) this.frame();
      else if (name === undefined) this.everySecond();
      // Without a fleet to frame, the map stays at the whole Earth.
      if (!this.framed) this.fences.look();
    });
  }

  private async loadStyle(): Promise<void> {
    await this.asking(async () => {
      const url = await this.api.mapStyleUrl();
      if (url !== null) await this.view.useStyle(url);
    });
  }

  // The feed is what the page lives by; a REST call that fails leaves a panel poorer, not the page broken.
  private async asking(ask: () => Promise<void>, otherwise: () => void = () => {}): Promise<void> {
    try {
      await ask();
    } catch (error) {
      otherwise();
      if (error instanceof ApiError && error.status === 401) this.refused(error.message);
      else console.warn('waymark:', error);
    }
  }

  private listen(): void {
    const { map } = this.view;
    onThemeChange(() => this.view.setTheme(readTheme()));
    addEventListener('online', () => this.feed.hurry());
    map.on('click', (click) => this.clickAt(click.point.x, click.point.y));
    map.on('mousemove', (move) => {
      if (this.fences.drawing) return;
      const device = this.view.pick(move.point.x, move.point.y);
      if (device === this.layer.hovered) return;
      this.layer.hovered = device;
      map.getCanvas().style.cursor = device === null ? '' : 'pointer';
      map.triggerRepaint();
    });
    map.on('render', () => (this.frames += 1));
    const signOut = byId<HTMLButtonElement>('signout');
    say(signOut, this.credential.who === null ? 'Sign out' : `Sign out ${this.credential.who}`);
    signOut.onclick = () => void this.credential.signOut().then(() => this.refused('You are signed out.'));
    byId('fit').onclick = () => this.view.fit(insets(), 700);
    document.onkeydown = (key) => this.shortcut(key);
  }

  private clickAt(x: number, y: number): void {
    if (this.fences.drawing) return;
    const device = this.view.pick(x, y);
    this.select(device, false);
    this.shipments.deselect();
    if (device === null) this.fences.clickAt(x, y);
  }

  private escape(): void {
    if (this.fences.cancel()) return;
    this.fences.select(null);
    this.shipments.deselect();
    this.select(null, false);
  }

  private shortcut(key: KeyboardEvent): void {
    if (key.key === 'Escape') return this.escape();
    if (key.target instanceof HTMLInputElement || key.target instanceof HTMLSelectElement) return;
    if (key.ctrlKey || key.metaKey || key.altKey) return;
    // A button that has the focus takes Enter for itself.
    if (!(key.target instanceof HTMLButtonElement) && this.fences.key(key.key)) return key.preventDefault();
    if (key.key === 'n') {
      this.tabs.open('map');
      this.fences.begin();
    } else if (key.key === '/' || key.key === 's') {
      this.tabs.open(key.key === 's' ? 'shipments' : 'fleet');
      byId(key.key === 's' ? 'shipment-search' : 'search').focus();
      key.preventDefault();
    } else if (key.key === 'f') {
      this.view.fit(insets(), 700);
    }
  }

  private glimpse(): void {
    const page = this;
    window.waymark = Object.freeze({
      get deviceCount() { return page.fleet.devices.size; },
      get status() { return page.status.kind; },
      get events() { return page.eventCount; },
      get frames() { return page.frames; },
      get fences() { return page.fences.book.sites.size; },
      project: (lon: number, lat: number) => page.view.map.project([lon, lat]),
      fenceAt: ({ x, y }: { x: number; y: number }) => page.fences.at(x, y)[0] ?? null,
      positions: () => [...page.fleet.devices.values()].flatMap((device) => {
        if (device.position === null) return [];
        const [lon, lat] = toLonLat(placeAt(device, page_s()));
        return [{ device: device.name, lon, lat, state: page.stateOf(device), fix_time: device.position.fix_time }];
      }),
    });
  }
}
