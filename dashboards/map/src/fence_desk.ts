/**
 * Fences at work: loaded as the map moves, drawn, selected, changed, previewed and deleted.
 *
 * Owns the fence's panel, the form and the drawing tool; the fleet and the events come from the page.
 */

import { ApiError, type Api } from './api.ts';
import { Draft, type DraftKind } from './draft.ts';
import { FenceBook, siteOf, type Changes, type Site } from './fence_book.ts';
import { FenceLoader } from './fence_loader.ts';
import { FenceNews, fenceOf } from './fence_news.ts';
import { Ground } from './ground.ts';
import type { Fence, FenceBody, FenceShape, LonLat, WaymarkEvent } from './model.ts';
import { byId } from './view/dom.ts';
import { DraftLayer } from './view/draft_layer.ts';
import { DrawTool } from './view/draw_tool.ts';
import { FenceForm } from './view/fence_form.ts';
import { FenceLayer } from './view/fence_layer.ts';
import { FencePanel, type Inside } from './view/fence_panel.ts';
import { insets } from './view/layout.ts';
import type { MapView } from './view/map.ts';

const EVENTS_SHOWN = 20;
const PREVIEW_MARKS = 5_000;
// A preview marks its finds while it runs, but not one by one.
const MARK_EVERY_MS = 300;

const byName = new Intl.Collator('en', { numeric: true });

export interface FencePage {
  /** Run a request; a refused key ends the page, other failures are logged. */
  asking(ask: () => Promise<void>): Promise<void>;
  selectDevice(name: string | null): void;
  visit(event: WaymarkEvent): void;
}

export class FenceDesk {
  readonly book = new FenceBook();
  private readonly ground = new Ground();
  private readonly news = new FenceNews();
  private readonly layer = new FenceLayer(this.book.sites);
  private readonly draftLayer = new DraftLayer(this.ground);
  private readonly loader: FenceLoader;
  private readonly tool: DrawTool;
  private readonly panel: FencePanel;
  private readonly form: FenceForm;
  private selected: string | null = null;
  /** The fence being changed; null while a new one is drawn. */
  private changing: Fence | null = null;
  private editing = false;
  private shown = true;
  // Until the server says otherwise: it alone knows what this key may do.
  private writes = true;
  private preview: AbortController | null = null;

  constructor(private readonly api: Api, private readonly view: MapView, private readonly page: FencePage) {
    view.under.push(this.layer);
    view.over.push(this.draftLayer);
    this.loader = new FenceLoader(api, this.book, this.ground, (changes) => this.changed(changes), (ask) => page.asking(ask));
    this.tool = new DrawTool(view.map, this.draftLayer, () => this.showDraft());
    this.panel = new FencePanel({
      close: () => this.select(null), change: () => this.change(), remove: () => void this.remove(),
      device: (name) => page.selectDevice(name), event: (event) => page.visit(event),
    });
    this.form = new FenceForm({
      kind: (kind) => void this.draw(kind), size: (metres) => this.tool.setSize(metres), pointAtMiddle: () => this.pointAtMiddle(),
      done: () => this.tool.finish(), preview: () => void this.runPreview(), save: () => void this.save(), cancel: () => this.cancel(),
    });
    this.form.preview.onPick = (event) => this.lookAt(event);
    view.map.on('moveend', () => this.look());
    byId('fences-toggle').onclick = () => this.toggle();
    byId('fence-new').onclick = () => this.begin();
  }

  stop(): void {
    this.loader.stop();
    this.preview?.abort();
  }

  /** Whether the form is open: clicks on the map are for drawing then. */
  get drawing(): boolean {
    return this.editing;
  }

  /** Read the fences in view. The map calls it by moving. */
  look(): void {
    if (!this.shown) return;
    const box = this.view.map.getBounds();
    this.loader.look([box.getWest(), box.getSouth(), box.getEast(), box.getNorth()]);
  }

  private toggle(): void {
    this.shown = !this.shown;
    byId('fences-toggle').setAttribute('aria-pressed', String(this.shown));
    this.layer.show(this.shown);
    if (!this.shown) this.select(null);
    this.look();
  }

  private changed(changes: Changes): void {
    this.layer.change(changes);
    byId('fences-note').hidden = !this.loader.crowded;
    if (this.selected !== null && changes.drop.includes(this.selected)) this.select(null);
    if (this.selected !== null && changes.put.some((site) => site.fence.id === this.selected)) this.everySecond();
  }

  /** News of the feed: who is where, and fences the page does not know yet. */
  hear(event: WaymarkEvent): void {
    this.news.hear(event);
    const id = fenceOf(event);
    if (id === null) return;
    const version = event.data['fence_version'];
    const known = this.book.sites.get(id);
    const newer = known === undefined || (typeof version === 'number' && version > known.fence.version);
    const gone = known !== undefined && event.data['reason'] === 'deleted';
    if (this.shown && (newer || gone)) void this.loader.refresh(id);
  }

  /** A click on the map that met no device: select the smallest fence there, or the next larger on another click. */
  clickAt(x: number, y: number): void {
    const found = this.at(x, y);
    this.select(found[found.indexOf(this.selected ?? '') + 1] ?? found[0] ?? null);
  }

  /** The fences drawn at a point of the map, the smallest first. */
  at(x: number, y: number): string[] {
    return this.layer.at(x, y);
  }

  select(id: string | null): void {
    const site = this.book.sites.get(id ?? '');
    this.selected = site?.fence.id ?? null;
    this.layer.choose(this.selected);
    this.everySecond();
    if (site === undefined) return;
    this.page.selectDevice(null);
    void this.ask(site.fence.id);
  }

  private async ask(id: string): Promise<void> {
    await this.page.asking(async () => {
      const [visits, events] = await Promise.all([this.api.openVisits(id), this.api.fenceEvents(id, EVENTS_SHOWN)]);
      this.news.seed(id, visits);
      for (const event of events) this.news.hear(event);
      this.everySecond();
    });
  }

  /** Events were missed. */
  async catchUp(): Promise<void> {
    this.news.forgetStays();
    this.book.forgetPlaces();
    this.look();
    if (this.selected !== null) await this.ask(this.selected);
  }

  /** Select a fence and bring it into view; read it first when it is not known. */
  async visit(id: string): Promise<void> {
    await this.middleOf(id);
    const site = this.book.sites.get(id);
    if (site === undefined) return;
    this.select(id);
    this.view.flyToBox(site.box, insets());
  }

  /** The middle of a fence, read first when it is not known; null when there is none. */
  async middleOf(id: string): Promise<LonLat | null> {
    if (!this.book.sites.has(id)) await this.loader.refresh(id);
    return this.book.sites.get(id)?.middle ?? null;
  }

  everySecond(): void {
    const site = this.editing ? undefined : this.book.sites.get(this.selected ?? '');
    this.panel.show(site?.fence ?? null, this.writes);
    if (site === undefined) return;
    const now_ms = Date.now();
    this.panel.showInside(this.inside(site), now_ms);
    this.panel.showEvents(this.news.events(site.fence.id), now_ms);
  }

  private inside(site: Site): Inside[] {
    const inside = [...this.news.stays(site.fence.id)].filter(([, stay]) => stay.inside);
    return inside.map(([device, stay]) => ({ device, since: stay.time })).sort((a, b) => byName.compare(a.device, b.device));
  }

  // Drawing.

  /** Draw a new fence. */
  begin(): void {
    this.cancel();
    this.page.selectDevice(null);
    this.select(null);
    if (!this.shown) this.toggle();
    this.editing = true;
    this.form.open(null, true);
    void this.draw('polygon');
  }

  private async draw(kind: DraftKind): Promise<void> {
    // A corridor is outlined while it is drawn.
    if (kind === 'corridor') await this.ground.ready([{ type: 'Corridor', coordinates: [], width_m: 0 }]);
    if (this.editing) this.tool.begin(kind);
  }

  private change(): void {
    const site = this.book.sites.get(this.selected ?? '');
    if (site === undefined) return;
    this.changing = site.fence;
    this.editing = true;
    const draft = Draft.of(site.fence.shape);
    this.form.open(site.fence, draft !== null);
    if (draft !== null) {
      this.layer.hideOne(site.fence.id);
      this.tool.adjust(draft);
    }
    this.showDraft();
    this.everySecond();
  }

  private showDraft(): void {
    const { draft, adjusting } = this.tool;
    document.body.classList.toggle('editing', this.editing);
    document.body.classList.toggle('drawing', draft !== null && !adjusting);
    if (draft !== null) this.form.showDraft(draft, adjusting);
  }

  private pointAtMiddle(): void {
    // The middle of what the panels leave free, where the cross is.
    const box = byId('cross').getBoundingClientRect();
    const at = this.view.map.unproject([box.x + box.width / 2, box.y + box.height / 2]);
    this.tool.setAtMiddle([at.lng, at.lat]);
  }

  /** Give up drawing or changing; false when there was nothing to give up. */
  cancel(): boolean {
    if (!this.editing) return false;
    this.editing = false;
    this.endPreview();
    this.draftLayer.mark([]);
    this.changing = null;
    this.tool.close();
    this.showDraft();
    this.layer.hideOne(null);
    this.form.close();
    this.everySecond();
    return true;
  }

  /** A key pressed outside of fields; answers whether it was for the drawing. */
  key(key: string): boolean {
    if (!this.editing) return false;
    if (key === 'Enter') this.tool.finish();
    else if (key === 'Backspace' || key === 'Delete') this.tool.undo();
    else return false;
    return true;
  }

  private shape(): FenceShape | null {
    return this.tool.draft === null ? (this.changing?.shape ?? null) : this.tool.draft.shape();
  }

  private async save(): Promise<void> {
    this.tool.finish();
    const over = this.changing;
    const body = this.form.body(this.shape(), over);
    if (body === null) return;
    this.form.busy(true);
    await this.trying(async () => {
      const saved = over === null
        ? await this.api.createFence(named(body, this.form.id)) : await this.api.changeFence(over.id, body, over.version);
      await this.ground.ready([saved.shape]);
      this.changed(this.book.put(siteOf(saved, this.ground.outline(saved.shape))));
      this.cancel();
      this.select(saved.id);
    }, (error) => this.form.tell(error.faults, error.message));
    this.form.busy(false);
  }

  private async remove(): Promise<void> {
    const id = this.selected;
    if (id === null) return;
    await this.trying(async () => {
      await this.api.deleteFence(id);
      this.changed(this.book.drop(id));
    }, (error) => this.panel.tell(error.message));
  }

  // A refusal is told where the person looks; a key that may not write is not asked to again.
  private async trying(attempt: () => Promise<void>, tell: (error: ApiError) => void): Promise<void> {
    await this.page.asking(async () => {
      try {
        await attempt();
      } catch (error) {
        if (error instanceof ApiError && error.status === 401) throw error;
        tell(error instanceof ApiError ? error : new ApiError(0, 'The server did not answer. Nothing is lost: try again.'));
        if (error instanceof ApiError && error.status === 403) this.writes = false;
        this.everySecond();
      }
    });
  }

  // Preview.

  private async runPreview(): Promise<void> {
    if (this.preview !== null) return this.endPreview();
    this.tool.finish();
    const body = this.form.body(this.shape(), this.changing);
    if (body === null) return;
    const running = (this.preview = new AbortController());
    const id = this.changing?.id ?? this.form.id;
    const end = new Date();
    const start = new Date(end.getTime() - this.form.preview.hours * 3_600_000);
    this.form.preview.start();
    await this.trying(async () => {
      await this.followPreview(named(body, id), start, end, running.signal);
    }, (error) => {
      if (running.signal.aborted) return;
      this.form.preview.stop('');
      this.form.tell(error.faults, error.message);
    });
    if (this.preview === running) this.preview = null;
  }

  private async followPreview(fence: Parameters<Api['previewFence']>[0], start: Date, end: Date, signal: AbortSignal): Promise<void> {
    const found: WaymarkEvent[] = [];
    let marked_ms = 0;
    let finished = false;
    for await (const line of this.api.previewFence(fence, start, end, signal)) {
      if (signal.aborted) return;
      this.form.preview.take(line);
      if ('event' in line && found.length < PREVIEW_MARKS) found.push(line.event);
      finished ||= 'summary' in line || 'error' in line;
      if (finished || performance.now() - marked_ms > MARK_EVERY_MS) {
        marked_ms = performance.now();
        this.draftLayer.mark(found);
      }
    }
    if (!finished && !signal.aborted) this.form.preview.stop('The preview broke off before its end: what is listed may not be all.');
  }

  private endPreview(): void {
    this.preview?.abort();
    this.preview = null;
    this.form.preview.stop('');
  }

  private lookAt(event: WaymarkEvent): void {
    const { lon, lat } = event.data;
    if (typeof lon === 'number' && typeof lat === 'number') this.view.map.easeTo({ center: [lon, lat], duration: 500 });
  }
}

function named(body: FenceBody, id: string): FenceBody & { id?: string } {
  return id === '' ? body : { ...body, id };
}
