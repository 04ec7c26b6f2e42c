import { get } from './api.js';
import { element, table } from './dom.js';
import { formatDecimal, formatMoney, formatTime } from './format.js';
import { lineSteps, linesTable, lineTitle, unratedNotes } from './line.js';
import { panel } from './panel.js';

/**
 * @typedef {import('./line.js').Line} Line
 * @typedef {{ id: string, number: string | null, state: string, total: import('./line.js').Money,
 *   created_at: string }} Summary
 * @typedef {Summary & { lines: Line[], unrated: import('./line.js').Unrated[] }} Invoice
 * @typedef {{ price: { plan: string, plan_version: number, price_id: string } | null,
 *   recomputed: { quantity: string, amount_exact: string, same: boolean }, events: string | null }} Explanation
 * @typedef {{ data: { id: string, time: string, key: string, model: string, usage_status: string,
 *   quantity: string }[], next_cursor: string | null }} Events
 */

/**
 * The invoices of a customer; each opens to its lines, each line to where it comes from.
 *
 * @param {{ id: string, timezone: string }} customer
 * @param {AbortSignal} signal
 */
export function invoicesPanel(customer, signal) {
  const { section, show, fail } = panel('invoices', 'Invoices');
  get('/v1/invoices', { customer: customer.id, limit: '24' }).then(
    (/** @type {{ data: Summary[], next_cursor: string | null }} */ page) => {
      if (signal.aborted) return;
      const none = page.data.length === 0 ? [element('p', { class: 'quiet' }, 'None yet.')] : [];
      const more =
        page.next_cursor === null ? [] : [element('p', { class: 'quiet' }, 'The latest 24; more by the API.')];
      show(...none, ...page.data.map((invoice) => invoiceFold(invoice, customer.timezone)), ...more);
    },
    (error) => {
      if (!signal.aborted) fail(error);
    },
  );
  return section;
}

/**
 * @param {Summary} summary
 * @param {string} timezone
 */
function invoiceFold(summary, timezone) {
  const title = `${summary.number ?? 'Draft'} · ${summary.state} · ${formatTime(summary.created_at, timezone)} · ${formatMoney(summary.total)}`;
  return fold(title, async () => {
    /** @type {Invoice} */
    const invoice = await get(`/v1/invoices/${encodeURIComponent(summary.id)}`);
    const lines = linesTable(`Lines of ${summary.number ?? 'the draft'}`, invoice.lines, (line) =>
      fold(lineTitle(line), () => explain(invoice.id, line, timezone)),
    );
    return element('div', {}, lines, ...unratedNotes(invoice.unrated));
  });
}

/**
 * @param {string} invoice
 * @param {Line} line
 * @param {string} timezone
 */
async function explain(invoice, line, timezone) {
  const path = `/v1/invoices/${encodeURIComponent(invoice)}/lines/${encodeURIComponent(line.id ?? '')}`;
  /** @type {Explanation} */
  const { price, recomputed, events } = await get(`${path}/explain`);
  const computed = `Computed anew from the usage below it: ${formatDecimal(recomputed.quantity)} for ${formatDecimal(recomputed.amount_exact)}`;
  return element(
    'div',
    {},
    lineSteps(line),
    price
      ? element('p', {}, `Price ${price.price_id} of plan ${price.plan}, version ${price.plan_version}.`)
      : undefined,
    element(
      'p',
      { class: recomputed.same ? 'quiet' : 'problem' },
      `${computed}, ${recomputed.same ? 'the same' : 'NOT the same'}.`,
    ),
    events === null ? undefined : fold('Events', () => eventsTable(events, timezone)),
  );
}

/**
 * @param {string} path
 * @param {string} timezone
 */
async function eventsTable(path, timezone) {
  /** @type {Events} */
  const page = await get(path, { limit: '100' });
  const columns = ['Request', 'Time', 'Key', 'Model', 'Usage'].map((title) => ({ title }));
  const rows = page.data.map((event) => [
    element('code', {}, event.id),
    formatTime(event.time, timezone),
    event.key,
    event.model,
    event.usage_status,
    formatDecimal(event.quantity),
  ]);
  const caption =
    page.next_cursor === null ? 'All events of the line' : 'The first 100 events of the line; more by the API';
  return table(caption, [...columns, { title: 'Quantity', isNumber: true }], rows, 'No events.');
}

/**
 * What is read when it is first opened.
 *
 * @param {string} title
 * @param {() => Promise<HTMLElement>} read
 */
function fold(title, read) {
  const content = element('div', { role: 'status' });
  const details = element('details', {}, element('summary', {}, title), content);
  details.addEventListener('toggle', async () => {
    if (!details.open || content.hasChildNodes()) return;
    content.replaceChildren(element('p', { class: 'quiet' }, 'Reading …'));
    try {
      content.replaceChildren(await read());
    } catch (error) {
      details.open = false;
      content.replaceChildren();
      details.after(
        element('p', { class: 'problem', role: 'alert' }, error instanceof Error ? error.message : String(error)),
      );
    }
  });
  return details;
}
