import { element, table } from './dom.js';
import { formatDecimal, formatMoney, words } from './format.js';

/**
 * A line of an invoice, or of one to come, with what it was computed from.
 *
 * @typedef {{ amount: string, currency: string }} Money
 * @typedef {{ quantity: string, amount_exact: string }} Part
 * @typedef {{ id?: string, kind: 'fee' | 'usage' | 'adjustment', price_id: string | null, name: string | null,
 *   adjusts: { subscription: string, period_index: number } | null, unit: string | null, model: string | null,
 *   quantity: string, amount: Money, amount_exact: string, models: (Part & { model: string })[],
 *   steps: (Part & { formula: string })[] }} Line
 * @typedef {{ model: string, unit: string, quantity: string }} Unrated
 */

/**
 * The lines as a table, each of which opens to its steps.
 *
 * @param {string} caption
 * @param {Line[]} lines
 * @param {(line: Line, index: number) => HTMLElement} first what stands in the first cell
 */
export function linesTable(caption, lines, first) {
  const columns = [
    { title: 'Line' },
    { title: 'Quantity', isNumber: true },
    { title: 'Exact amount', isNumber: true },
    { title: 'Amount', isNumber: true },
  ];
  const rows = lines.map((line, index) => [
    first(line, index),
    formatDecimal(line.quantity),
    formatDecimal(line.amount_exact),
    formatMoney(line.amount),
  ]);
  return table(caption, columns, rows, 'Nothing to bill yet.');
}

/** @param {Line} line */
export function lineTitle(line) {
  if (line.kind === 'fee') return line.name ?? (line.price_id === null ? 'Fee of the plan' : 'Fixed amount');
  const models = line.model === null || line.model === '*' ? 'all models' : line.model;
  const title = line.name ?? `${words(line.unit ?? '')}, ${models}`;
  return !line.adjusts ? title : `${title}: later usage of period ${line.adjusts.period_index}`;
}

/**
 * Step by step, and by model.
 *
 * @param {Line} line
 */
export function lineSteps(line) {
  const figures = [
    { title: 'Quantity', isNumber: true },
    { title: 'Exact amount', isNumber: true },
  ];
  /** @param {Part} part */
  const cells = (part) => [formatDecimal(part.quantity), formatDecimal(part.amount_exact)];
  const steps = line.steps.map((step) => [step.formula, ...cells(step)]);
  const models = line.models.map((model) => [model.model, ...cells(model)]);
  return element(
    'div',
    { class: 'steps' },
    table('How it was computed', [{ title: 'Step' }, ...figures], steps, 'In one step.'),
    models.length === 0 ? undefined : table('By model', [{ title: 'Model' }, ...figures], models, ''),
  );
}

/** @param {Money} tax */
export function taxNote(tax) {
  return /[1-9]/.test(tax.amount) ? `, of which ${formatMoney(tax)} tax` : '';
}

/** @param {Unrated[]} unrated */
export function unratedNotes(unrated) {
  return unrated.map(({ model, unit, quantity }) =>
    element(
      'p',
      { class: 'problem' },
      `Not billed, no charge of the plan covers it: ${formatDecimal(quantity)} ${words(unit)} of ${model}.`,
    ),
  );
}
