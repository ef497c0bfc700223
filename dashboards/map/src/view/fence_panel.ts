/** The selected fence: what it says, who is inside, what happened there last. */

import type { Fence, WaymarkEvent } from '../model.ts';
import { durationText, dwellText, groundText, speedText } from '../wording.ts';
import { arrowKeys, byId, el, say } from './dom.ts';
import { EventRows } from './event_rows.ts';

const MAX_INSIDE = 50;

/** A device in the fence, and since when. */
export interface Inside {
  readonly device: string;
  readonly since: string;
}

export interface PanelActions {
  close(): void;
  change(): void;
  remove(): void;
  device(name: string): void;
  event(event: WaymarkEvent): void;
}

export class FencePanel {
  private readonly panel = byId('fence');
  private readonly name = el('h2');
  private readonly id = el('p', 'place');
  private readonly facts = el('dl');
  private readonly notes = el('ul', 'notes');
  private readonly insideTitle = el('h3');
  private readonly inside = el('ul', 'inside');
  private readonly events: EventRows;
  private readonly quiet = el('p', 'note', 'Nothing has happened here lately.');
  private readonly fault = el('p', 'fault');
  private readonly buttons = el('div', 'row');
  private readonly removeButton: HTMLButtonElement;
  private sure = false;
  private shown: Fence | null = null;
  private insideKey = '';

  constructor(private readonly actions: PanelActions) {
    const close = this.button('×', 'close', () => actions.close());
    close.title = 'Close (Esc)';
    close.setAttribute('aria-label', 'Close');
    this.removeButton = this.button('Delete', '', () => this.remove());
    this.buttons.append(this.button('Change', '', () => actions.change()), this.removeButton);
    this.events = new EventRows((event) => actions.event(event));
    this.fault.setAttribute('role', 'alert');
    this.panel.replaceChildren(
      el('div', 'title', this.name, close), this.id, this.facts, this.notes, this.buttons, this.fault,
      this.insideTitle, this.inside, el('h3', '', 'Last events'), this.events.list, this.quiet,
    );
    arrowKeys(this.inside);
  }

  private button(label: string, className: string, onClick: () => void): HTMLButtonElement {
    const made = el('button', className, label);
    made.type = 'button';
    made.addEventListener('click', onClick);
    return made;
  }

  // A fence takes its open visits with it, so the button asks once more.
  private remove(): void {
    if (this.sure) this.actions.remove();
    this.ask(!this.sure);
  }

  private ask(sure: boolean): void {
    this.sure = sure;
    say(this.removeButton, sure ? 'Delete for good?' : 'Delete');
    this.removeButton.classList.toggle('danger', sure);
  }

  /** Show this fence; null hides the panel. `writes` is whether this key may change it. */
  show(fence: Fence | null, writes: boolean): void {
    this.panel.hidden = fence === null;
    this.buttons.hidden = !writes;
    if (fence === null || fence === this.shown) return;
    this.shown = fence;
    this.insideKey = '';
    this.ask(false);
    this.tell('');
    say(this.name, fence.name);
    say(this.id, `${fence.id} · version ${fence.version}`);
    this.facts.replaceChildren(...factsOf(fence).map(([fact, value]) => el('div', '', el('dt', '', fact), el('dd', '', value))));
    this.notes.replaceChildren(...(fence.notes ?? []).map((note) => el('li', '', note)));
    this.inside.replaceChildren();
    this.events.show([], 0);
  }

  tell(sentence: string): void {
    say(this.fault, sentence);
  }

  /** Who is in it; cheap to call each second. */
  showInside(inside: readonly Inside[], now_ms: number): void {
    say(this.insideTitle, inside.length === 0 ? 'Nobody is inside' : `Inside now: ${inside.length.toLocaleString('en')}`);
    const shown = inside.slice(0, MAX_INSIDE);
    const key = JSON.stringify(shown);
    if (key !== this.insideKey) {
      this.insideKey = key;
      this.inside.replaceChildren(...shown.map(({ device, since }) => {
        const age = el('span', 'age');
        age.dataset['since'] = since;
        const row = this.button('', '', () => this.actions.device(device));
        row.append(el('span', 'name', device), age);
        return el('li', '', row);
      }));
    }
    for (const age of this.inside.querySelectorAll<HTMLElement>('.age')) {
      say(age, `for ${durationText(Math.max(0, now_ms - Date.parse(age.dataset['since'] ?? '')) / 1000)}`);
    }
  }

  showEvents(events: readonly WaymarkEvent[], now_ms: number): void {
    this.quiet.hidden = events.length > 0;
    this.events.show(events, now_ms);
  }
}

function factsOf(fence: Fence): [string, string][] {
  const { devices = [], groups = [], tags = [] } = fence.applies_to ?? {};
  const audience = [...devices, ...groups, ...tags];
  const facts: [string, string | null][] = [
    ['Shape', groundText(fence.shape)],
    ['Layer', fence.layer ?? null],
    ['Dwell', fence.dwell_s == null ? null : dwellText(fence.dwell_s)],
    ['Speed limit', fence.speed_limit_mps == null ? null : speedText(fence.speed_limit_mps)],
    ['Devices belong', fence.normal === 'inside' ? 'inside' : null],
    ['Schedule', fence.schedule == null ? null : 'at set hours'],
    ['For', audience.length === 0 ? null : audience.slice(0, 4).join(', ') + (audience.length > 4 ? ` and ${audience.length - 4} more` : '')],
    ['Passing through', fence.crossed === false ? 'not told' : null],
  ];
  return facts.filter((fact): fact is [string, string] => fact[1] !== null);
}
