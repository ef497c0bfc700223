/**
 * Draws every device and the tail it leaves, in three draw calls whatever the size of the fleet.
 *
 * A MapLibre custom layer. A GeoJSON source would send 10,000 devices through a worker for every
 * frame of movement; here a fix costs one row of 13 floats and the shader moves the marker.
 */

import type { CustomLayerInterface, Map as MapLibre } from 'maplibre-gl';
import type { Device } from '../fleet.ts';
import { toMercator } from '../geo.ts';
import { LIVE_STATES, type LiveState } from '../model.ts';
import { Instances, Program, Texture, writeSplit } from './gpu.ts';
import { CELL_RADII, CELLS, drawIcons, HALO_CELL } from './icons.ts';
import { MARKER_FRAGMENT, MARKER_VERTEX, TAIL_FRAGMENT, TAIL_VERTEX } from './shaders.ts';

export type Rgb = readonly [number, number, number];
export interface FleetColors {
  readonly states: Readonly<Record<LiveState, Rgb>>;
  readonly outline: Rgb;
  readonly accent: Rgb;
}

type Fields = readonly (readonly [attribute: string, floats: number])[];
const MARKER_FIELDS: Fields = [['a_from', 4], ['a_to', 4], ['a_time_course', 4], ['a_look', 1]];
const MARKER_FLOATS = 13;
const TAIL_FIELDS: Fields = [['a_from', 4], ['a_to', 4], ['a_time', 2]];
const TAIL_FLOATS = 10;
// 40 bytes each, 2.6 MB in all: five minutes of 200 devices a second, half a minute of 2,000.
const TAIL_ROWS = 65_536;
const TAIL_FADE_S = 300;
const RADIANS = Math.PI / 180;

export class FleetLayer implements CustomLayerInterface {
  readonly id = 'fleet';
  readonly type = 'custom' as const;
  readonly renderingMode = '2d' as const;

  selected: Device | null = null;
  hovered: Device | null = null;
  /** The fleet's `spacing`. */
  spacing = Infinity;

  private readonly icons = new Texture();
  private tailColor: Rgb = [0, 0, 0];
  private readonly markers = new Instances(MARKER_FLOATS, 256);
  private readonly tails = new Instances(TAIL_FLOATS, TAIL_ROWS);
  private count = 0;
  private tailCount = 0;
  private nextTail = 0;
  private readonly lastTail = new Map<number, number>();
  private readonly tailOwner = new Int32Array(TAIL_ROWS).fill(-1);
  /** Until when something on the screen still moves or fades, on the page's clock. */
  private busyUntil_s = 0;
  private map: MapLibre | null = null;
  private markerProgram!: Program;
  private tailProgram!: Program;
  private markerVao: WebGLVertexArrayObject | null = null;
  private tailVao: WebGLVertexArrayObject | null = null;

  constructor(colors: FleetColors, private readonly now_s: () => number) {
    this.setColors(colors);
  }

  setColors(colors: FleetColors): void {
    this.icons.set(drawIcons(colors));
    this.tailColor = colors.states.moving;
  }

  /** Show the device as it is now. `moved` also extends its tail by the glide it has begun. */
  put(device: Device, look: LiveState, hidden: boolean, moved: boolean): void {
    const at = this.markers.touch(device.slot);
    const data = this.markers.data;
    writeSplit(data, at, device.from.x, device.from.y);
    writeSplit(data, at + 4, device.to.x, device.to.y);
    data[at + 8] = device.start_s;
    data[at + 9] = device.end_s;
    data[at + 10] = device.from_course_deg * RADIANS;
    data[at + 11] = device.to_course_deg * RADIANS;
    data[at + 12] = hidden || device.position === null ? -1 : LIVE_STATES.indexOf(look);
    this.count = Math.max(this.count, device.slot + 1);
    this.busyUntil_s = Math.max(this.busyUntil_s, device.end_s);
    if (moved && device.end_s > device.start_s) this.addTail(device);
  }

  isHidden(device: Device): boolean {
    return (this.markers.data[device.slot * MARKER_FLOATS + 12] ?? -1) < 0;
  }

  /** Whether another frame would differ from the last one. */
  isBusy(): boolean {
    return this.now_s() <= this.busyUntil_s;
  }

  private addTail(device: Device): void {
    this.cutTail(device);
    this.lastTail.set(device.slot, this.nextTail);
    this.tailOwner[this.nextTail] = device.slot;
    const at = this.tails.touch(this.nextTail);
    writeSplit(this.tails.data, at, device.from.x, device.from.y);
    writeSplit(this.tails.data, at + 4, device.to.x, device.to.y);
    this.tails.data[at + 8] = device.start_s;
    this.tails.data[at + 9] = device.end_s;
    this.nextTail = (this.nextTail + 1) % TAIL_ROWS;
    this.tailCount = Math.min(TAIL_ROWS, this.tailCount + 1);
  }

  // A glide cut short by the next one ends where that begins, or the two would overlap and show a tick.
  private cutTail(device: Device): void {
    const row = this.lastTail.get(device.slot);
    if (row === undefined || this.tailOwner[row] !== device.slot) return;
    const at = this.tails.touch(row);
    if ((this.tails.data[at + 9] ?? 0) <= device.start_s) return;
    writeSplit(this.tails.data, at + 4, device.from.x, device.from.y);
    this.tails.data[at + 9] = device.start_s;
  }

  onAdd(map: MapLibre, gl: WebGL2RenderingContext): void {
    this.map = map;
    this.markerProgram = new Program(gl, MARKER_VERTEX, MARKER_FRAGMENT);
    this.tailProgram = new Program(gl, TAIL_VERTEX, TAIL_FRAGMENT);
    this.markers.attach(gl);
    this.tails.attach(gl);
    this.icons.attach(gl);
    this.markerVao = this.layout(gl, this.markerProgram, this.markers, [-1, -1, 1, -1, -1, 1, 1, 1], MARKER_FIELDS);
    this.tailVao = this.layout(gl, this.tailProgram, this.tails, [0, -1, 1, -1, 0, 1, 1, 1], TAIL_FIELDS);
  }

  onRemove(): void {
    this.map = null;
  }

  private layout(
    gl: WebGL2RenderingContext, program: Program, rows: Instances, corners: number[], fields: Fields,
  ): WebGLVertexArrayObject | null {
    const vao = gl.createVertexArray();
    gl.bindVertexArray(vao);
    const quad = gl.createBuffer();
    gl.bindBuffer(gl.ARRAY_BUFFER, quad);
    gl.bufferData(gl.ARRAY_BUFFER, new Float32Array(corners), gl.STATIC_DRAW);
    const corner = gl.getAttribLocation(program.handle, 'a_corner');
    gl.enableVertexAttribArray(corner);
    gl.vertexAttribPointer(corner, 2, gl.FLOAT, false, 0, 0);
    rows.upload(gl);
    this.point(gl, program, rows, fields, 0);
    gl.bindVertexArray(null);
    return vao;
  }

  private point(gl: WebGL2RenderingContext, program: Program, rows: Instances, fields: Fields, first: number): void {
    let offset = first * rows.stride;
    for (const [name, size] of fields) {
      const location = gl.getAttribLocation(program.handle, name);
      gl.enableVertexAttribArray(location);
      gl.vertexAttribPointer(location, size, gl.FLOAT, false, rows.stride * 4, offset * 4);
      gl.vertexAttribDivisor(location, 1);
      offset += size;
    }
  }

  render(gl: WebGL2RenderingContext): void {
    if (this.map === null) return;
    gl.disable(gl.CULL_FACE);
    gl.useProgram(this.tailProgram.handle);
    gl.bindVertexArray(this.tailVao);
    this.tails.upload(gl);
    this.view(gl, this.tailProgram, this.map);
    gl.uniform1f(this.tailProgram.uniform('u_fade_s'), TAIL_FADE_S);
    gl.uniform3fv(this.tailProgram.uniform('u_color'), this.tailColor);
    gl.drawArraysInstanced(gl.TRIANGLE_STRIP, 0, 4, this.tailCount);
    this.drawMarkers(gl, this.map);
    gl.bindVertexArray(null);
  }

  private drawMarkers(gl: WebGL2RenderingContext, map: MapLibre): void {
    const program = this.markerProgram;
    gl.useProgram(program.handle);
    gl.bindVertexArray(this.markerVao);
    this.markers.upload(gl);
    this.view(gl, program, map);
    this.icons.bind(gl);
    const radius = this.radiusPx() * devicePixelRatio * CELL_RADII;
    gl.uniform1f(program.uniform('u_bearing'), map.getBearing() * RADIANS);
    gl.uniform1f(program.uniform('u_cells'), CELLS);
    gl.uniform1f(program.uniform('u_cell'), -1);
    gl.uniform1i(program.uniform('u_icons'), 0);
    gl.uniform1f(program.uniform('u_radius_px'), radius);
    gl.drawArraysInstanced(gl.TRIANGLE_STRIP, 0, 4, this.count);
    this.drawOne(gl, program, this.hovered, radius * 1.2);
    this.drawOne(gl, program, this.selected, radius * 1.35);
  }

  private drawOne(gl: WebGL2RenderingContext, program: Program, device: Device | null, radius: number): void {
    if (device === null || device.position === null) return;
    this.point(gl, program, this.markers, MARKER_FIELDS, device.slot);
    gl.uniform1f(program.uniform('u_radius_px'), radius);
    for (const cell of [HALO_CELL, -1]) {
      gl.uniform1f(program.uniform('u_cell'), cell);
      gl.drawArraysInstanced(gl.TRIANGLE_STRIP, 0, 4, 1);
    }
    this.point(gl, program, this.markers, MARKER_FIELDS, 0);
  }

  private view(gl: WebGL2RenderingContext, program: Program, map: MapLibre): void {
    const center = map.getCenter();
    const { x, y } = toMercator(center.lng, center.lat);
    const split = new Float32Array(4);
    writeSplit(split, 0, x, y);
    const bearing = map.getBearing() * RADIANS;
    gl.uniform4fv(program.uniform('u_center'), split);
    gl.uniform1f(program.uniform('u_world_px'), 512 * 2 ** map.getZoom() * devicePixelRatio);
    gl.uniform2f(program.uniform('u_turn'), Math.cos(bearing), Math.sin(bearing));
    gl.uniform2f(program.uniform('u_view_px'), gl.drawingBufferWidth / 2, gl.drawingBufferHeight / 2);
    gl.uniform1f(program.uniform('u_now_s'), this.now_s());
    gl.uniform1f(program.uniform('u_ratio'), devicePixelRatio);
  }

  /** Larger where a street is in sight than where a country is, and small enough to leave a crowd its gaps. */
  radiusPx(): number {
    const zoom = this.map?.getZoom() ?? 10;
    const wanted = Math.max(4, Math.min(14, 3 + zoom * 0.62));
    return Math.max(3, Math.min(wanted, 0.55 * this.spacing * 512 * 2 ** zoom));
  }
}
