/** What the fence in the form would have raised: how far the search is, and the events found. */

import type { PreviewLine, WaymarkEvent } from '../model.ts';
import { durationText, plain, sentence } from '../wording.ts';
import { arrowKeys, el, say } from './dom.ts';

const SPANS: readonly (readonly [hours: number, label: string])[] = [[24, 'last 24 hours'], [168, 'last 7 days']];
// More than anyone reads; all are counted.
const MAX_ROWS = 200;

export class PreviewList {
  readonly element = el('section', 'preview');
  onPick: (event: WaymarkEvent) => void = () => {};
  private readonly span = el('select');
  private readonly run = el('button', '', 'Preview');
  private readonly bar = el('progress');
  private readonly note = el('p', 'note');
  private readonly list = el('ol', 'rows');

  constructor(onRun: () => void) {
    for (const [hours, label] of SPANS) {
      const option = el('option', '', label);
      option.value = String(hours);
      this.span.append(option);
    }
    this.span.setAttribute('aria-label', 'Period of the preview');
    this.run.type = 'button';
    this.run.addEventListener('click', onRun);
    this.note.setAttribute('role', 'status');
    this.bar.setAttribute('aria-label', 'Progress of the preview');
    this.element.append(el('div', 'row', this.run, this.span), this.bar, this.note, this.list);
    arrowKeys(this.list);
    this.clear();
  }

  get hours(): number {
    return Number(this.span.value);
  }

  clear(): void {
    this.list.replaceChildren();
    this.bar.hidden = true;
    say(this.run, 'Preview');
    say(this.note, '');
  }

  /** It runs, and the button now stops it. */
  start(): void {
    this.clear();
    this.bar.hidden = false;
    this.bar.removeAttribute('value');
    say(this.run, 'Stop');
    say(this.note, 'Looking …');
  }

  stop(said: string): void {
    this.bar.hidden = true;
    say(this.run, 'Preview');
    say(this.note, said);
  }

  take(line: PreviewLine): void {
    if ('progress' in line) {
      const { devices_done, devices, fixes } = line.progress;
      this.bar.max = Math.max(1, devices);
      this.bar.value = devices_done;
      say(this.note, `${counted(devices_done)} of ${counted(devices)} devices, ${counted(fixes)} fixes`);
    } else if ('event' in line) {
      if (this.list.childElementCount < MAX_ROWS) this.list.append(this.row(line.event));
    } else {
      this.stop('error' in line ? `The preview broke off: ${line.error.detail}` : summaryText(line.summary));
    }
  }

  private row(event: WaymarkEvent): HTMLElement {
    const told = sentence(event);
    const time = el('time', 'age', new Date(event.time).toLocaleString());
    time.dateTime = event.time;
    const button = el('button', '', el('i', 'dot'), el('span', 'text', el('b', '', told.subject), ` ${told.rest}`), el('span', 'meta', time));
    button.type = 'button';
    button.addEventListener('click', () => this.onPick(event));
    return el('li', told.tone, button);
  }
}

type Summary = Extract<PreviewLine, { summary: unknown }>['summary'];

function summaryText({ events, devices, fixes, seconds, notes = [] }: Summary): string {
  const kinds = Object.entries(events).filter(([, count]) => count > 0);
  const found = kinds.map(([type, count]) => `${plain(type.split('.')[1] ?? type)} ${counted(count)}`).join(', ');
  const took = seconds < 1 ? 'in under a second' : `in ${durationText(seconds)}`;
  const sum = `It would have raised${found === '' ? ' nothing' : `: ${found}`}. ${counted(devices)} devices, ${counted(fixes)} fixes, ${took}.`;
  return [sum, ...notes].join(' ');
}

function counted(n: number): string {
  return n.toLocaleString('en');
}
