/** The form beside a fence being drawn or changed. Errors are named at the field they are about. */

import type { Fault } from '../api.ts';
import type { Draft, DraftKind } from '../draft.ts';
import type { Fence, FenceBody, FenceShape } from '../model.ts';
import { byId, el, say } from './dom.ts';
import { PreviewList } from './preview_list.ts';

/** What the form asks for, by the API's name of each. */
const FIELDS = {
  name: { label: 'Name', type: 'text', hint: '' },
  id: { label: 'Id', type: 'text', hint: 'automatic' },
  layer: { label: 'Layer', type: 'text', hint: 'none' },
  dwell_s: { label: 'Dwell, minutes', type: 'number', hint: 'none' },
  speed_limit_mps: { label: 'Speed limit, km/h', type: 'number', hint: 'none' },
} as const;
type FieldName = keyof typeof FIELDS;

const KINDS: Readonly<Record<DraftKind, string>> = { polygon: 'Polygon', circle: 'Circle', corridor: 'Corridor' };
const HINTS: Readonly<Record<DraftKind, readonly [drawing: string, adjusting: string]>> = {
  polygon: ['Click corner after corner; double-click the last.', 'Drag a corner to move it, right-click to remove it.'],
  circle: ['Press at the centre and drag to the rim.', 'Drag the centre or the rim.'],
  corridor: ['Click along the way; double-click the end.', 'Drag a point to move it, right-click to remove it.'],
};

export interface FormActions {
  kind(kind: DraftKind): void;
  size(metres: number): void;
  pointAtMiddle(): void;
  done(): void;
  preview(): void;
  save(): void;
  cancel(): void;
}

export class FenceForm {
  readonly preview: PreviewList;
  private readonly card = byId('draw');
  private readonly title = el('h2');
  private readonly kinds = new Map<DraftKind, HTMLButtonElement>();
  private readonly kindRow = el('div', 'choices');
  private readonly inputs = new Map<FieldName, HTMLInputElement>();
  private readonly faults = new Map<string, HTMLElement>();
  private readonly normal = el('select');
  private readonly size = el('input');
  private readonly sizeLabel = el('span');
  private readonly sizeRow: HTMLElement;
  private readonly hint = el('p', 'hint');
  private readonly drawRow = el('div', 'row');
  private readonly general = el('p', 'fault');
  private readonly saveButton = button('Save', 'primary');

  constructor(private readonly actions: FormActions) {
    this.preview = new PreviewList(() => actions.preview());
    this.kindRow.setAttribute('role', 'group');
    this.kindRow.setAttribute('aria-label', 'Shape');
    for (const [kind, label] of Object.entries(KINDS) as [DraftKind, string][]) {
      const choice = button(label, '', () => actions.kind(kind));
      this.kinds.set(kind, choice);
      this.kindRow.append(choice);
    }
    this.size.type = 'number';
    this.size.min = '1';
    this.size.step = 'any';
    this.size.id = 'fence-size';
    this.size.addEventListener('input', () => this.size.valueAsNumber > 0 && actions.size(this.size.valueAsNumber));
    this.sizeRow = el('label', 'field', this.sizeLabel, this.size, this.fault('shape'));
    this.drawRow.append(button('Point at cross', '', () => actions.pointAtMiddle()), button('Done', '', () => actions.done()));
    this.general.setAttribute('role', 'alert');
    this.card.replaceChildren(this.form());
  }

  private form(): HTMLFormElement {
    for (const [value, text] of [['outside', 'outside'], ['inside', 'inside']] as const) {
      const option = el('option', '', text);
      option.value = value;
      this.normal.append(option);
    }
    const normal = el('label', 'field', el('span', '', 'Devices should be'), this.normal, this.fault('normal'));
    const fields = (Object.keys(FIELDS) as FieldName[]).map((name) => this.field(name));
    const ends = el('div', 'row ends', this.saveButton, button('Cancel', '', () => this.actions.cancel()));
    const form = el('form', '', this.title, this.kindRow, this.hint, this.drawRow, this.sizeRow, ...fields, normal, this.preview.element, this.general, ends);
    form.noValidate = true;
    this.saveButton.type = 'submit';
    form.addEventListener('submit', (submit) => {
      submit.preventDefault();
      this.actions.save();
    });
    return form;
  }

  private field(name: FieldName): HTMLElement {
    const { label, type, hint } = FIELDS[name];
    const input = el('input');
    input.id = `fence-${name}`;
    input.type = type;
    input.placeholder = hint;
    input.autocomplete = 'off';
    if (type === 'number') [input.min, input.step] = ['0', 'any'];
    input.setAttribute('aria-describedby', `fence-${name}-fault`);
    this.inputs.set(name, input);
    return el('label', `field ${type}`, el('span', '', label), input, this.fault(name));
  }

  private fault(name: string): HTMLElement {
    const line = el('span', 'fault');
    line.id = `fence-${name}-fault`;
    line.setAttribute('role', 'alert');
    this.faults.set(name, line);
    return line;
  }

  /** Show the form for a fence, or empty for a new one. `reshapes` is false for shapes drawn elsewhere. */
  open(fence: Fence | null, reshapes: boolean): void {
    say(this.title, fence === null ? 'New fence' : `Change ${fence.name}`);
    this.kindRow.hidden = fence !== null;
    this.put('name', fence?.name ?? '');
    this.put('id', fence?.id ?? '');
    this.inputs.get('id')!.parentElement!.hidden = fence !== null;
    this.put('layer', fence?.layer ?? '');
    this.put('dwell_s', fence?.dwell_s == null ? '' : shortest(fence.dwell_s / 60));
    this.put('speed_limit_mps', fence?.speed_limit_mps == null ? '' : shortest(fence.speed_limit_mps * 3.6));
    this.normal.value = fence?.normal ?? 'outside';
    this.tell([], '');
    this.preview.clear();
    this.card.hidden = false;
    if (!reshapes) this.showFixed();
  }

  close(): void {
    this.card.hidden = true;
  }

  private put(name: FieldName, text: string): void {
    this.inputs.get(name)!.value = text;
  }

  private showFixed(): void {
    this.sizeRow.hidden = this.drawRow.hidden = true;
    say(this.hint, 'A set of cells cannot be redrawn here; everything else about it can be changed.');
  }

  showDraft(draft: Draft, adjusting: boolean): void {
    for (const [kind, choice] of this.kinds) choice.setAttribute('aria-pressed', String(kind === draft.kind));
    say(this.hint, HINTS[draft.kind][adjusting ? 1 : 0]);
    this.drawRow.hidden = adjusting;
    this.sizeRow.hidden = draft.kind === 'polygon';
    say(this.sizeLabel, draft.kind === 'circle' ? 'Radius, metres' : 'Width, metres');
    const metres = draft.kind === 'circle' ? Math.round(draft.radius_m * 10) / 10 : draft.width_m;
    if (document.activeElement !== this.size) this.size.value = metres > 0 ? String(metres) : '';
  }

  get id(): string {
    return this.inputs.get('id')!.value.trim();
  }

  /** What the form and the shape say, over what `fence` says beyond the form; null when the form itself is at fault. */
  body(shape: FenceShape | null, fence: Fence | null): FenceBody | null {
    const name = this.inputs.get('name')!.value.trim();
    const faults: Fault[] = [];
    if (name === '') faults.push({ field: 'name', message: 'A fence needs a name.' });
    if (shape === null) faults.push({ field: '', message: 'The shape is not finished: set its points on the map.' });
    for (const field of ['dwell_s', 'speed_limit_mps'] as const) {
      if (this.inputs.get(field)!.validity.badInput) faults.push({ field, message: 'This is not a number.' });
    }
    this.tell(faults, '');
    if (faults.length > 0 || shape === null) return null;
    const minutes = this.number('dwell_s');
    const kmh = this.number('speed_limit_mps');
    const layer = this.inputs.get('layer')!.value.trim();
    return {
      ...kept(fence), name, shape, normal: this.normal.value as 'inside' | 'outside',
      ...(layer === '' ? {} : { layer }),
      ...(minutes === null ? {} : { dwell_s: Math.round(minutes * 60) }),
      ...(kmh === null ? {} : { speed_limit_mps: Math.round((kmh / 3.6) * 1000) / 1000 }),
    };
  }

  private number(name: FieldName): number | null {
    const { value } = this.inputs.get(name)!;
    return value.trim() === '' ? null : Number(value);
  }

  /** Show each fault at its field, and `sentence` or faults of no field of ours above the buttons. */
  tell(faults: readonly Fault[], sentence: string): void {
    const elsewhere: string[] = [];
    const said = new Map<string, string>();
    for (const { field, message } of faults) {
      const own = ownField(field);
      // Where its row is not to be seen, it is told below all.
      const row = this.faults.get(own)?.parentElement;
      if (row && !row.hidden) said.set(own, message);
      else elsewhere.push(message);
    }
    for (const [name, line] of this.faults) {
      say(line, said.get(name) ?? '');
      line.parentElement!.querySelector('input, select')?.toggleAttribute('aria-invalid', said.has(name));
    }
    say(this.general, elsewhere.join(' ') || (said.size > 0 ? '' : sentence));
    const first = [...said.keys()][0];
    if (first !== undefined) byId(`fence-${first}-fault`).parentElement!.querySelector<HTMLElement>('input, select')?.focus();
  }

  busy(busy: boolean): void {
    this.saveButton.disabled = busy;
  }
}

// `fence.shape.coordinates[0]` and `body.shape` are about `shape`.
function ownField(field: string): string {
  return field.replace(/^(body|fence)\./, '').split(/[.[]/)[0] ?? '';
}

/** The members that may be sent and the form does not ask for. */
function kept(fence: Fence | null): Partial<FenceBody> {
  if (fence === null) return {};
  const { buffers, schedule, applies_to, crossed, attrs } = fence;
  return Object.fromEntries(Object.entries({ buffers, schedule, applies_to, crossed, attrs }).filter(([, value]) => value != null));
}

function shortest(value: number): string {
  return String(Number(value.toFixed(2)));
}

function button(label: string, className = '', onClick: () => void = () => {}): HTMLButtonElement {
  const made = el('button', className, label);
  made.type = 'button';
  made.addEventListener('click', onClick);
  return made;
}
