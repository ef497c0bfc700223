/**
 * Drawing on the map by mouse, finger or keyboard: first points are set, then they may be moved.
 *
 * Owns a draft while one is open, and gives the map its own gestures back when it is closed.
 */

import type { Map as MapLibre, MapMouseEvent, MapTouchEvent } from 'maplibre-gl';
import { Draft, type DraftKind, type Grip } from '../draft.ts';
import { circle } from '../ground.ts';
import type { LonLat } from '../model.ts';
import type { DraftLayer } from './draft_layer.ts';

type Press = MapMouseEvent | MapTouchEvent;
const REACH_PX = 9;
// A fingertip covers more than a pointer.
const TOUCH_REACH_PX = 18;
// The point of a circle's ring due east of its centre.
const EAST = 48;

export class DrawTool {
  draft: Draft | null = null;
  adjusting = false;
  private dragged: Grip | 'rim' | null = null;
  private next: LonLat | null = null;
  private frame = 0;

  constructor(private readonly map: MapLibre, private readonly layer: DraftLayer, private readonly onChange: () => void) {
    map.on('click', (click) => this.click(click));
    map.on('dblclick', (click) => this.doubleClick(click));
    map.on('mousemove', (move) => this.moved(move));
    map.on('touchmove', (move) => this.moved(move));
    map.on('mousedown', (press) => press.originalEvent.button === 0 && this.press(press, REACH_PX));
    map.on('touchstart', (press) => press.points.length === 1 && this.press(press, TOUCH_REACH_PX));
    map.on('mouseup', () => this.release());
    map.on('touchend', () => this.release());
    map.on('mouseout', () => this.hover(null));
    map.on('contextmenu', (click) => this.removeAt(click));
  }

  /** Begin to draw, forgetting what was drawn before. */
  begin(kind: DraftKind): void {
    this.open(new Draft(kind), false);
  }

  /** Change a draft that has its points. */
  adjust(draft: Draft): void {
    this.open(draft, true);
  }

  private open(draft: Draft, adjusting: boolean): void {
    this.draft = draft;
    this.adjusting = adjusting;
    this.dragged = this.next = null;
    this.map.doubleClickZoom.disable();
    this.changed();
  }

  close(): void {
    if (this.draft === null) return;
    this.draft = this.dragged = this.next = null;
    this.map.doubleClickZoom.enable();
    this.changed();
  }

  /** Set no more points; what is drawn can be moved from here on. */
  finish(): void {
    if (this.draft === null || this.adjusting || !this.draft.complete) return;
    this.adjusting = true;
    this.next = null;
    this.changed();
  }

  /** Set a point in the middle of the map: for those without a pointer, or with large fingers. */
  setAtMiddle(at: LonLat): void {
    if (this.draft === null || this.adjusting) return;
    this.draft.add(at);
    this.changed();
  }

  undo(): void {
    if (this.draft === null || this.adjusting || !this.draft.undo()) return;
    this.draft.radius_m = 0;
    this.changed();
  }

  setSize(metres: number): void {
    if (this.draft === null) return;
    if (this.draft.kind === 'circle') this.draft.radius_m = metres;
    else this.draft.width_m = metres;
    if (this.draft.kind === 'circle') this.finish();
    this.changed();
  }

  private changed(): void {
    this.redraw();
    this.onChange();
  }

  // At most once a frame: the outline of a corridor is not for nothing.
  private redraw(): void {
    if (this.frame !== 0) return;
    this.frame = requestAnimationFrame(() => {
      this.frame = 0;
      const { draft, next } = this;
      if (draft === null) return this.layer.draw(null, null, false);
      const shows = next !== null && draft.kind !== 'circle';
      if (shows) draft.add(next);
      this.layer.draw(draft, this.rim(), this.adjusting);
      if (shows) draft.undo();
    });
  }

  private rim(): LonLat | null {
    const center = this.draft?.kind === 'circle' ? this.draft.parts[0]?.[0] : undefined;
    return center === undefined || this.draft!.radius_m <= 0 ? null : (circle(center, this.draft!.radius_m)[EAST] ?? null);
  }

  private click(click: MapMouseEvent): void {
    const { draft } = this;
    if (draft === null || this.adjusting || draft.kind === 'circle') return;
    const grip = this.gripAt(click, REACH_PX);
    const ends = grip !== null && (draft.kind === 'polygon' ? grip.point === 0 : grip.point === draft.parts[0]!.length - 1);
    if (ends && draft.complete) return this.finish();
    // The second click of a double one is at the same place.
    if (grip !== null && grip.point === draft.parts[0]!.length - 1) return;
    draft.add(placeOf(click));
    this.changed();
  }

  private doubleClick(click: MapMouseEvent): void {
    if (this.draft === null) return;
    click.preventDefault();
    this.finish();
  }

  private press(press: Press, reach_px: number): void {
    const { draft } = this;
    if (draft === null) return;
    if (!this.adjusting) {
      if (draft.kind !== 'circle') return;
      press.preventDefault();
      if (draft.parts[0]!.length === 0) draft.add(placeOf(press));
      else draft.reach(placeOf(press));
      this.dragged = 'rim';
      return this.changed();
    }
    this.dragged = this.takeHold(press, reach_px);
    if (this.dragged !== null) press.preventDefault();
  }

  private takeHold(press: Press, reach_px: number): Grip | 'rim' | null {
    const rim = this.rim();
    if (rim !== null && this.isNear(press, rim, reach_px)) return 'rim';
    const grip = this.gripAt(press, reach_px);
    if (grip !== null) return grip;
    const middle = this.draft!.middles().find(({ at }) => this.isNear(press, at, reach_px));
    return middle === undefined ? null : this.draft!.insertAfter(middle.grip, middle.at);
  }

  private moved(move: Press): void {
    if (this.draft === null) return;
    if (this.dragged === null) return this.hover(this.adjusting ? null : placeOf(move));
    if (this.dragged === 'rim') this.draft.reach(placeOf(move));
    else this.draft.move(this.dragged, placeOf(move));
    this.changed();
  }

  private hover(at: LonLat | null): void {
    if (this.draft === null || this.adjusting) return;
    if (this.draft.kind !== 'circle') this.next = at;
    else if (at !== null) this.draft.reach(at);
    this.changed();
  }

  private release(): void {
    if (this.draft === null || this.dragged === null) return;
    this.dragged = null;
    if (this.adjusting) return;
    const [center, rim] = [this.draft.parts[0]![0]!, this.rim()];
    const from = this.map.project(center);
    // Less was a click: the centre is set, the radius follows.
    if (rim !== null && from.dist(this.map.project(rim)) > REACH_PX) this.finish();
    else this.draft.radius_m = 0;
  }

  private removeAt(click: MapMouseEvent): void {
    if (this.draft === null || !this.adjusting) return;
    const grip = this.gripAt(click, REACH_PX);
    if (grip === null) return;
    click.preventDefault();
    this.draft.remove(grip);
    this.changed();
  }

  private gripAt(press: Press, reach_px: number): Grip | null {
    for (const [part, line] of this.draft!.parts.entries()) {
      const point = line.findIndex((at) => this.isNear(press, at, reach_px));
      if (point >= 0) return { part, point };
    }
    return null;
  }

  private isNear(press: Press, at: LonLat, reach_px: number): boolean {
    return press.point.dist(this.map.project(at)) <= reach_px;
  }
}

function placeOf(press: Press): LonLat {
  return [press.lngLat.lng, press.lngLat.lat];
}
