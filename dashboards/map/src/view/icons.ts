/**
 * The marks of the map, drawn once into one texture: a cell for each live state, and the halo.
 */

import { LIVE_STATES, type LiveState } from '../model.ts';
import type { FleetColors, Rgb } from './fleet_layer.ts';

// Twice the largest mark on a screen of two device pixels per pixel.
const CELL_PX = 128;
/** Half a cell in units of the mark's radius: room for outline and shadow. */
export const CELL_RADII = 1.6;
export const CELLS = LIVE_STATES.length + 1;
export const HALO_CELL = LIVE_STATES.length;

/** Shape as well as colour tells the state: arrow, dot, ring, cross in a ring. */
export function drawIcons(colors: FleetColors): HTMLCanvasElement {
  const canvas = document.createElement('canvas');
  canvas.width = CELL_PX * CELLS;
  canvas.height = CELL_PX;
  const pen = canvas.getContext('2d');
  if (pen === null) throw new Error('the browser gives no 2D canvas');
  LIVE_STATES.forEach((state, cell) => {
    inCell(pen, cell, () => drawMark(pen, state, css(colors.states[state]), css(colors.outline)));
  });
  inCell(pen, HALO_CELL, () => {
    pen.fillStyle = css(colors.accent);
    pen.globalAlpha = 0.38;
    disc(pen, 1.4);
    pen.fill();
  });
  return canvas;
}

function inCell(pen: CanvasRenderingContext2D, cell: number, draw: () => void): void {
  const scale = CELL_PX / 2 / CELL_RADII;
  pen.save();
  pen.translate((cell + 0.5) * CELL_PX, CELL_PX / 2);
  pen.scale(scale, scale);
  draw();
  pen.restore();
}

function drawMark(pen: CanvasRenderingContext2D, state: LiveState, fill: string, outline: string): void {
  pen.lineJoin = 'round';
  pen.lineCap = 'round';
  pen.strokeStyle = outline;
  pen.lineWidth = 0.46;
  pen.shadowColor = '#0006';
  pen.shadowBlur = 12;
  if (state === 'moving') arrow(pen);
  else disc(pen, 0.66);
  pen.stroke();
  pen.shadowColor = 'transparent';
  pen.fillStyle = fill;
  pen.fill();
  if (state === 'moving' || state === 'stopped') return;
  pen.fillStyle = outline;
  disc(pen, 0.4);
  pen.fill();
  if (state === 'stale') return;
  pen.strokeStyle = fill;
  pen.lineWidth = 0.18;
  pen.beginPath();
  for (const side of [-1, 1]) {
    pen.moveTo(-0.22, -0.22 * side);
    pen.lineTo(0.22, 0.22 * side);
  }
  pen.stroke();
}

function arrow(pen: CanvasRenderingContext2D): void {
  pen.beginPath();
  for (const [x, y] of [[0, -1.04], [0.78, 0.9], [0, 0.52], [-0.78, 0.9]] as const) pen.lineTo(x, y);
  pen.closePath();
}

function disc(pen: CanvasRenderingContext2D, radius: number): void {
  pen.beginPath();
  pen.arc(0, 0, radius, 0, 2 * Math.PI);
}

function css(color: Rgb): string {
  return `rgb(${color.map((part) => Math.round(part * 255)).join(' ')})`;
}
