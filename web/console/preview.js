import { ApiProblem, get } from './api.js';
import { element } from './dom.js';
import { formatMoney, formatTime } from './format.js';
import { lineSteps, linesTable, lineTitle, taxNote, unratedNotes } from './line.js';
import { live } from './live.js';
import { panel } from './panel.js';

/**
 * @typedef {{ plan: string, plan_version: number, zone: string, start_at: string, end_at: string }} Period
 * @typedef {{ plan: string, plan_version: number }} PlanVersion
 * @typedef {{ period: Period, next_plan: PlanVersion | null, tax: import('./line.js').Money, total: import('./line.js').Money, lines: import('./line.js').Line[],
 *   unrated: import('./line.js').Unrated[] }} Preview
 */

/**
 * What the running period comes to so far, as it happens: the figures of the invoice that it will be.
 *
 * @param {string} customer
 * @param {AbortSignal} signal
 */
export function previewPanel(customer, signal) {
  const { section, show, fail } = panel('preview', 'Invoice so far');
  /** Lines that somebody has opened stay open when the figures change. */
  const open = new Set();
  void live({
    ask: question(customer),
    draw: (preview) => {
      const focused = document.activeElement?.closest('details')?.dataset.line;
      show(
        ...(preview
          ? draw(preview, open)
          : [element('p', { class: 'quiet' }, 'No subscription runs: usage is metered and not billed.')]),
      );
      if (focused === undefined) return;
      for (const details of section.querySelectorAll('details')) {
        if (details.dataset.line === focused) details.querySelector('summary')?.focus();
      }
    },
    failed: fail,
    signal,
  });
  return section;
}

/**
 * What to ask for a customer: whether anything runs until something does, then what it comes to. Undefined when nothing
 * runs; without the instant of the answer, which alone is no news.
 *
 * @param {string} customer
 * @returns {() => Promise<Preview | undefined>}
 */
function question(customer) {
  let runs = false;
  return async () => {
    runs ||= await hasSubscription(customer);
    if (!runs) return undefined;
    try {
      const { period, next_plan, tax, total, lines, unrated } = await get(
        `/v1/customers/${encodeURIComponent(customer)}/usage/current`,
      );
      return { period, next_plan, tax, total, lines, unrated };
    } catch (error) {
      if (!(error instanceof ApiProblem) || error.code !== 'not_found') throw error;
      runs = false;
      return undefined;
    }
  };
}

/** @param {string} customer */
async function hasSubscription(customer) {
  /** @type {{ data: { start_at: string, end_at: string | null }[] }} */
  const { data } = await get('/v1/subscriptions', { customer, limit: '200' });
  return data.some(({ end_at }) => end_at === null || Date.parse(end_at) > Date.now());
}

/**
 * @param {Preview} preview
 * @param {Set<unknown>} open
 */
function draw({ period, next_plan, tax, total, lines, unrated }, open) {
  const from = formatTime(period.start_at, period.zone);
  const to = formatTime(period.end_at, period.zone);
  const caption = `Plan ${period.plan}, version ${period.plan_version}, from ${from} to ${to} (${period.zone})`;
  return [
    linesTable(caption, lines, (line) => {
      const id = `${line.price_id ?? 'fee'} ${line.adjusts?.subscription ?? ''} ${line.adjusts?.period_index ?? ''}`;
      const details = element(
        'details',
        { 'data-line': id, open: open.has(id) },
        element('summary', {}, lineTitle(line)),
        lineSteps(line),
      );
      details.addEventListener('toggle', () => {
        if (details.open) open.add(id);
        else open.delete(id);
      });
      return details;
    }),
    element(
      'p',
      { class: 'total' },
      'Total ',
      element('span', { id: 'preview-total' }, formatMoney(total)),
      taxNote(tax),
    ),
    ...changeNotes(period, next_plan),
    ...unratedNotes(unrated),
  ];
}

/**
 * Whoever edits a price looks here for it.
 *
 * @param {Period} period
 * @param {PlanVersion | null} next
 */
function changeNotes(period, next) {
  if (!next || (next.plan === period.plan && next.plan_version === period.plan_version)) return [];
  const from = formatTime(period.end_at, period.zone);
  const text = `Plan ${next.plan}, version ${next.plan_version}, counts from ${from}: a period keeps the prices with which it began.`;
  return [element('p', { class: 'quiet' }, text)];
}
