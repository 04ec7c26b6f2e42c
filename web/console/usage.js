import { get } from './api.js';
import { element, table } from './dom.js';
import { formatDecimal, formatMoney, formatTime, words } from './format.js';
import { live } from './live.js';
import { panel } from './panel.js';

/**
 * @typedef {{ amount: string, currency: string }} Money
 * @typedef {{ model: string | null, quantities: Record<string, string>, costs: Money[], estimated_events: string,
 *   unpriced_events: string }} Group
 * @typedef {{ from: string, to: string, timezone: string, groups: Group[] }} Usage
 */

/** Units that come first; the others follow by name. */
const FIRST_UNITS = ['calls', 'input_tokens', 'cache_read_tokens', 'output_tokens'];

/**
 * What a customer uses this month, by model and unit, as it happens.
 *
 * @param {string} customer
 * @param {AbortSignal} signal
 */
export function usagePanel(customer, signal) {
  const { section, show, fail } = panel('usage', 'Usage this month');
  void live({
    ask: () => Promise.all([get('/v1/usage', { customer, group_by: 'model' }), get('/v1/usage', { customer })]),
    draw: ([byModel, total]) => show(...draw(byModel, total)),
    failed: fail,
    signal,
  });
  return section;
}

/**
 * @param {Usage} usage
 * @param {Usage} total
 */
function draw(usage, total) {
  const units = unitsOf(usage.groups);
  const groups = usage.groups.length === 0 ? [] : [...usage.groups, ...total.groups];
  const rows = groups.map((group) => [
    group.model ?? element('strong', {}, 'All models'),
    ...units.map((unit) => {
      const quantity = group.quantities[unit] ?? '0';
      return quantity === '0' ? element('span', { class: 'quiet' }, '0') : formatDecimal(quantity);
    }),
    group.costs.map(formatMoney).join(', '),
  ]);
  const columns = [
    { title: 'Model' },
    ...units.map((unit) => ({ title: words(unit), isNumber: true })),
    { title: 'Provider cost', isNumber: true },
  ];
  const from = formatTime(usage.from, usage.timezone);
  const caption = `From ${from}, time zone ${usage.timezone}`;
  return [table(caption, columns, rows, 'Nothing yet.'), ...notes(total.groups)];
}

/** @param {Group[]} groups */
function unitsOf(groups) {
  const found = new Set(groups.flatMap((group) => Object.keys(group.quantities)));
  const first = FIRST_UNITS.filter((unit) => found.delete(unit));
  return [...first, ...[...found].sort()];
}

/** @param {Group[]} groups */
function notes(groups) {
  return groups.flatMap((group) => [
    ...(group.estimated_events === '0'
      ? []
      : [note(group.estimated_events, 'calls are estimated: no usage came for them.')]),
    ...(group.unpriced_events === '0' ? [] : [note(group.unpriced_events, 'calls have no known provider cost.')]),
  ]);
}

/**
 * @param {string} count
 * @param {string} text
 */
function note(count, text) {
  return element('p', { class: 'quiet' }, `${formatDecimal(count)} ${text}`);
}
