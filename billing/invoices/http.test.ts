import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { ingest } from '#billing/events/ingest.ts';
import { closeDuePeriods } from '#billing/jobs/close-periods.ts';
import { add, type Exact, getExact, ZERO } from '#core/exact.ts';
import { SILENT } from '#core/log.ts';
import { type TestApi, testApi } from '#test/support/billing-api.ts';
import { DATABASE_KINDS } from '#test/support/database.ts';
import { usageEvent } from '#test/support/usage-events.ts';

const at = (text: string) => Date.parse(text);

describe.each(DATABASE_KINDS)('from usage to an explained invoice on %s', (kind) => {
  let api: TestApi;
  let subscription = '';
  let invoice = '';
  const used: string[] = [];
  beforeAll(async () => {
    api = await testApi(kind);
    api.clock.nowMs = at('2026-03-01T00:00:00Z');
  });
  afterAll(() => api.close());

  const post = async (path: string, body: unknown, idempotencyKey?: string) =>
    api.call('POST', path, { body, ...(idempotencyKey === undefined ? {} : { idempotencyKey }) });
  const get = async (path: string) => (await api.call('GET', path)).json;
  const use = async (text: string, quantities: Record<string, string>, model = 'gpt-4o') => {
    const event = usageEvent({ atMs: at(text), quantities, model });
    await ingest(api.test.db, [event], api.clock.nowMs);
    return event.id;
  };
  const close = () => closeDuePeriods(api.test.db, { nowMs: api.clock.nowMs, log: SILENT });
  /** All pages, two rows at a time. */
  const list = async (path: string) => {
    // biome-ignore lint/suspicious/noExplicitAny: rows of any list
    const rows: any[] = [];
    let cursor: string | null = null;
    do {
      const page: { data: unknown[]; next_cursor: string | null } = await get(
        `${path}${path.includes('?') ? '&' : '?'}limit=2${cursor === null ? '' : `&cursor=${cursor}`}`,
      );
      rows.push(...page.data);
      cursor = page.next_cursor;
    } while (cursor !== null);
    return rows;
  };

  it('makes a plan and subscribes a customer to it', async () => {
    await post('/v1/customers', { id: 'acme', name: 'Acme', timezone: 'Europe/Paris', currency: 'USD' });
    const plan = await post('/v1/plans', {
      id: 'growth',
      name: 'Growth',
      currency: 'USD',
      fee: '31',
      charges: [
        { meter: 'input_tokens', model: 'gpt-*', price: { kind: 'unit', amount: '2.5', per: '1000000' } },
        {
          meter: 'calls',
          price: {
            kind: 'graduated',
            tiers: [
              { up_to: '2', amount: '0.01' },
              { up_to: null, amount: '0.001' },
            ],
          },
        },
      ],
    });
    expect(plan).toMatchObject({ status: 201, json: { version: 1, fee: { amount: '31.00', currency: 'USD' } } });
    const made = await post(
      '/v1/subscriptions',
      { customer: 'acme', plan: 'growth', start_at: '2026-03-15T09:00:00+01:00', billing_day: 'calendar' },
      'once',
    );
    expect(made).toMatchObject({ status: 201, json: { anchor_on: '2026-03-01', policies: { proration: 'by_day' } } });
    subscription = made.json.id;
  });

  it('shows what the running period comes to so far', async () => {
    api.clock.nowMs = at('2026-03-31T21:59:59.999Z');
    used.push(await use('2026-03-15T08:00:00Z', { calls: '1', input_tokens: '1000001' }));
    used.push(await use('2026-03-20T10:30:00Z', { calls: '1', input_tokens: '7' }, 'gpt-4o-mini'));
    used.push(await use('2026-03-31T21:59:59.999Z', { calls: '1', input_tokens: '3', images: '2' }));
    const preview = await get('/v1/customers/acme/usage/current');
    expect(preview).toMatchObject({
      provisional: true,
      next_plan: { plan: 'growth', plan_version: 1 },
      total: { amount: '19.52', currency: 'USD' },
      unrated: [{ model: 'gpt-4o', unit: 'images', quantity: '2' }],
      lines: [
        { kind: 'fee', quantity: '17/31', amount: { amount: '17.00' }, amount_exact: '17' },
        { kind: 'usage', quantity: '1000011', amount: { amount: '2.50' }, amount_exact: '2.5000275' },
        { kind: 'usage', quantity: '3', amount: { amount: '0.02' }, amount_exact: '0.021' },
      ],
    });
    expect(await get(`/v1/subscriptions/${subscription}/upcoming_invoice`)).toEqual(preview);
  });

  it('says on the preview from when a changed plan counts', async () => {
    const before = await get('/v1/customers/acme/usage/current');
    const { currency, fee, charges } = await get('/v1/plans/growth');
    const terms = charges.map(({ price_id, unit, ...charge }: Record<string, unknown>) => charge);
    const body = { name: 'Grown', currency, fee: fee.amount, charges: terms };
    expect(await api.call('PUT', '/v1/plans/growth', { body })).toMatchObject({ status: 200, json: { version: 2 } });
    const next_plan = { plan: 'growth', plan_version: 2 };
    expect(await get('/v1/customers/acme/usage/current')).toEqual({ ...before, next_plan });
  });

  it('shows the next period from its first instant on, before any job has run', async () => {
    api.clock.nowMs = at('2026-03-31T22:00:00Z');
    expect(await get('/v1/customers/acme/usage/current')).toMatchObject({
      period: { index: 1, start_at: '2026-03-31T22:00:00.000Z' },
      total: { amount: '31.00' },
    });
  });

  it('bills what the preview said', async () => {
    api.clock.nowMs = at('2026-04-01T00:00:00Z');
    await close();
    const [summary, ...others] = await list('/v1/invoices?customer=acme');
    expect(others).toEqual([]);
    expect(summary).toMatchObject({ state: 'open', number: 'INV-000001', total: { amount: '19.52', currency: 'USD' } });
    invoice = summary.id;
    const { lines, unrated } = await get(`/v1/invoices/${invoice}`);
    expect(lines.map((line: { amount: unknown }) => line.amount)).toEqual([
      { amount: '17.00', currency: 'USD' },
      { amount: '2.50', currency: 'USD' },
      { amount: '0.02', currency: 'USD' },
    ]);
    expect(unrated).toEqual([{ model: 'gpt-4o', unit: 'images', quantity: '2' }]);
  });

  it('lists usage that comes after that as late, with what it would add, and leaves the invoice as it is', async () => {
    const late = await use('2026-03-20T10:45:00Z', { calls: '1', input_tokens: '2000000' });
    await use('2026-04-01T00:00:00Z', { calls: '1', input_tokens: '1' });
    const [row, ...others] = await list('/v1/late_usage');
    expect(others).toEqual([]);
    expect(row).toMatchObject({
      customer: 'acme',
      period: { subscription, index: 0 },
      events: '1',
      usage: [
        { unit: 'calls', quantity: '1' },
        { unit: 'input_tokens', quantity: '2000000' },
      ],
      would_add: { amount: '5.00', currency: 'USD' },
    });
    const events = await list(`/v1/late_usage/events?subscription=${subscription}&period_index=0`);
    expect(events.map((event) => event.id)).toEqual([late]);
    expect(await get(`/v1/invoices/${invoice}`)).toMatchObject({ total: { amount: '19.52' } });
  });

  it('walks every line back to its price, its hours and its events, and computes it anew to the last digit', async () => {
    const { lines } = await get(`/v1/invoices/${invoice}`);
    for (const line of lines) {
      const explained = await get(`/v1/invoices/${invoice}/lines/${line.id}/explain`);
      expect(explained.recomputed).toEqual({
        quantity: line.quantity,
        amount_exact: line.amount_exact,
        amount: line.amount,
        same: true,
      });
      if (line.kind === 'fee') {
        expect(explained).toMatchObject({ price: null, roll_ups: null, events: null });
        expect(explained.line.steps[0].formula).toBe('31.00 x 17/31');
        continue;
      }
      expect(explained.price).toMatchObject({ price_id: line.price_id, plan: 'growth', plan_version: 1 });
      expect(await get(`/v1/prices/${line.price_id}`)).toMatchObject({ price: explained.price.price });
      const hours = await list(explained.roll_ups);
      const events = await list(explained.events);
      expect(totalOf(hours)).toEqual(getExact(line.quantity));
      expect(totalOf(events)).toEqual(getExact(line.quantity));
      expect(events.map((event) => event.id)).toEqual(used);
    }
  });

  it('keeps the version that a line was billed by when the plan changes', async () => {
    const changed = await api.call('PUT', '/v1/plans/growth', { body: { name: 'Growth', currency: 'USD', fee: '40' } });
    expect(changed.json).toMatchObject({ version: 3, charges: [] });
    expect((await list('/v1/plans/growth/versions')).map((plan) => plan.version)).toEqual([1, 2, 3]);
    const { lines } = await get(`/v1/invoices/${invoice}`);
    expect((await get(`/v1/invoices/${invoice}/lines/${lines[2].id}/explain`)).recomputed.same).toBe(true);
  });

  it('takes an invoice back when somebody asks for it, once', async () => {
    const first = await post(`/v1/invoices/${invoice}/void`, {});
    expect(first.json).toMatchObject({ state: 'void', number: 'INV-000001' });
    expect((await post(`/v1/invoices/${invoice}/void`, {})).json).toEqual(first.json);
    expect((await post(`/v1/invoices/${invoice}/finalize`, {})).json).toMatchObject({ code: 'state_conflict' });
  });

  it('says what is not there, and what a cursor may be', async () => {
    for (const path of ['/v1/invoices/none', `/v1/invoices/${invoice}/lines/none/explain`, '/v1/plans/none']) {
      expect(await get(path)).toMatchObject({ code: 'not_found' });
    }
    const odd = Buffer.from('["not an instant","",""]').toString('base64url');
    const path = `/v1/late_usage/events?subscription=${subscription}&period_index=0&cursor=${odd}`;
    expect(await get(path)).toMatchObject({ code: 'validation_failed', errors: [{ parameter: 'cursor' }] });
  });

  it('evaluates a price by the function that makes lines', async () => {
    const price = { kind: 'package', size: '0.01', amount: '1' };
    const { json } = await post('/v1/prices/evaluate', { price, quantity: '0.07', currency: 'USD' });
    expect(json).toMatchObject({ amount: { amount: '7.00', currency: 'USD' }, amount_exact: '7' });
  });

  it('has a meter for every unit, and takes more', async () => {
    const wanted = { id: 'gpu', name: 'GPU seconds', aggregation: 'sum', unit: 'gpu_seconds' };
    expect((await post('/v1/meters', wanted)).json).toMatchObject({
      ...wanted,
      version: 1,
      built_in: false,
      managed_by: 'api',
    });
    expect((await post('/v1/meters', wanted)).status).toBe(201);
    expect((await post('/v1/meters', { ...wanted, unit: 'other' })).json).toMatchObject({ code: 'already_exists' });
    const { data } = await get('/v1/meters');
    expect(data.map((meter: { id: string }) => meter.id)).toEqual(
      expect.arrayContaining(['calls', 'output_tokens', 'gpu']),
    );
  });
});

function totalOf(rows: readonly { quantity: string }[]): Exact {
  return rows.reduce((total, row) => add(total, getExact(row.quantity)), ZERO);
}
