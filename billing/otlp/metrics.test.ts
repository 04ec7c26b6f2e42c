import fc from 'fast-check';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { sql } from '#billing/db/database.ts';
import { CORRECTION_TYPE } from '#billing/events/event-schema.ts';
import { ingest } from '#billing/events/ingest.ts';
import { verifyRollups } from '#billing/repairs/verify.ts';
import { DATABASE_KINDS, type TestDatabase, testDatabase } from '#test/support/database.ts';
import { countMetrics, forgetPoints } from './count-metrics.ts';
import type { Point } from './points.ts';

const NOW = Date.UTC(2026, 10, 20, 12);
const DAY = { startMs: Date.UTC(2026, 10, 20), endMs: Date.UTC(2026, 10, 21) };
const HISTORIES = Number.parseInt(process.env.WEIR_HISTORIES ?? '25', 10);
const TOKENS = 'gen_ai.client.inference.usage';

/** What one collection of a process saw of a model. */
interface Used {
  input: number;
  cached: number;
  output: number;
  calls: number;
}

interface History {
  /** True of sums since the start. */
  cumulative: boolean;
  /** Says everything by the names of before 2026 as well. */
  both: boolean;
  collections: readonly { restarts: boolean; used: readonly Used[] }[];
}

const used = fc
  .record({ input: fc.nat(500), share: fc.nat(100), output: fc.nat(500), calls: fc.nat(3) })
  .map(({ input, share, output, calls }) => ({ input, cached: Math.floor((input * share) / 100), output, calls }));
const history: fc.Arbitrary<History> = fc.record({
  cumulative: fc.boolean(),
  both: fc.boolean(),
  collections: fc.array(fc.record({ restarts: fc.boolean(), used: fc.array(used, { minLength: 2, maxLength: 2 }) }), {
    minLength: 1,
    maxLength: 6,
  }),
});

function pointsOf({ cumulative, both, collections }: History): Point[] {
  const points: Point[] = [];
  const sums = new Map<string, number>();
  let startMs = NOW - 1_000_000;
  for (const [at, { restarts, used: models }] of collections.entries()) {
    const atMs = NOW - 900_000 + at * 60_000;
    if (restarts) {
      sums.clear();
      startMs = atMs - 30_000;
    }
    for (const [n, { input, cached, output, calls }] of models.entries()) {
      const of = { 'gen_ai.request.model': `m${n}`, 'gen_ai.operation.name': 'chat' };
      let place = 0;
      const add = (name: string, kind: Point['kind'], count: number, more: Record<string, string> = {}) => {
        const attributes = new Map(Object.entries({ ...of, ...more }));
        const key = JSON.stringify([name, kind, [...attributes]]);
        const sum = (sums.get(key) ?? 0) + count;
        sums.set(key, sum);
        points.push({
          ...{ name, kind, unit: '', scope: 'x', attributes, cumulative },
          resource: new Map([['weir.customer', 'acme']]),
          startNanos: `${BigInt(startMs) * 1_000_000n}`,
          // Some libraries look at the clock for each of them.
          timeNanos: `${BigInt(atMs) * 1_000_000n + BigInt(++place)}`,
          value: String(cumulative ? sum : count),
        });
      };
      add(`${TOKENS}.input_tokens`, 'sum', input);
      add(`${TOKENS}.cache_read.input_tokens`, 'sum', cached);
      add(`${TOKENS}.output_tokens`, 'sum', output);
      add('gen_ai.client.inference.duration', 'histogram_count', calls);
      if (!both) continue;
      add('gen_ai.client.token.usage', 'histogram_sum', input, { 'gen_ai.token.type': 'input' });
      add('gen_ai.client.token.usage', 'histogram_sum', output, { 'gen_ai.token.type': 'output' });
      add('gen_ai.client.operation.duration', 'histogram_count', calls);
    }
  }
  return points;
}

/** What each collection comes to, by what the process really did. */
function wanted({ collections }: History): object[] {
  return collections
    .flatMap(({ used: models }, at) =>
      models.map(({ input, cached, output, calls }, n) => ({
        time: NOW - 900_000 + at * 60_000,
        model: `m${n}`,
        quantities: Object.fromEntries(
          Object.entries({
            ...{ calls, input_tokens: input - cached, cache_read_tokens: cached, output_tokens: output },
          }).flatMap(([unit, count]) => (count > 0 ? [[unit, `${count}`]] : [])),
        ),
      })),
    )
    .filter(({ quantities }) => Object.keys(quantities).length > 0);
}

describe.each(DATABASE_KINDS)('points of metrics on %s', (kind) => {
  let test: TestDatabase;
  beforeAll(async () => {
    test = await testDatabase(kind);
  });
  afterAll(() => test.drop());
  const empty = () =>
    test.db.script(
      'truncate event, event_id, event_conflict, event_parked, event_correction, usage_hour, cost_hour, otlp_point',
    );
  beforeEach(empty);

  const send = (points: readonly Point[], nowMs = NOW) => test.db.transaction((tx) => countMetrics(tx, points, nowMs));
  const counted = () =>
    test.db.query<{ time: number; model: string; quantities: object }>(sql`
      select time, model, body #> '{data,quantities}' as quantities from event where live order by time, model`);
  const pointOf = (more: Partial<Point> & { atMs: number; value: string }): Point => {
    const { atMs, ...rest } = more;
    return {
      ...{ name: `${TOKENS}.input_tokens`, kind: 'sum', unit: '', scope: 'x', cumulative: true },
      ...{ resource: new Map([['weir.customer', 'acme']]), attributes: new Map([['gen_ai.request.model', 'm']]) },
      ...{ startNanos: `${BigInt(NOW - 1_000_000) * 1_000_000n}`, timeNanos: `${BigInt(atMs) * 1_000_000n}` },
      ...rest,
    };
  };

  it('come to what the process did, however they are split over requests, repeated, mixed up and sent at once', async () => {
    await fc.assert(
      fc.asyncProperty(
        history,
        fc.nat(),
        fc.integer({ min: 1, max: 6 }),
        fc.boolean(),
        async (of, seed, size, atOnce) => {
          await empty();
          const points = pointsOf(of);
          const random = randomOf(seed);
          const requests: Point[][] = Array.from({ length: size }, () => []);
          for (const point of points) {
            const copies = random() < 0.3 ? 2 : 1;
            for (let copy = 0; copy < copies; copy++) requests[Math.floor(random() * size)]?.push(point);
          }
          const all = [...requests, ...requests.filter(() => random() < 0.5)].sort(() => random() - 0.5);
          if (atOnce) await Promise.all(all.map((request) => send(request)));
          else for (const request of all) await send(request);
          const found = await counted();
          expect(found.map(({ time, model, quantities }) => ({ time, model, quantities }))).toEqual(wanted(of));
          expect(
            await test.db.query(sql`select reason from event_parked union all select id from event_conflict`),
          ).toEqual([]);
        },
      ),
      { numRuns: HISTORIES, interruptAfterTimeLimit: 60_000 },
    );
    expect(await verifyRollups(test.db, DAY)).toEqual([]);
  });

  it('of one collection in two requests are one event, whose first figures are in its history', async () => {
    await send([pointOf({ atMs: NOW - 5_000, value: '1000' })]);
    expect(await counted()).toMatchObject([{ quantities: { input_tokens: '1000' } }]);
    const cached = { name: `${TOKENS}.cache_read.input_tokens`, atMs: NOW - 5_000, value: '600' };
    await send([pointOf(cached)]);
    await send([pointOf(cached)]);
    expect(await counted()).toMatchObject([{ quantities: { input_tokens: '400', cache_read_tokens: '600' } }]);
    const rows = await test.db.query(sql`select sign::int4 as sign from event order by revision`);
    expect(rows).toEqual([{ sign: 1 }, { sign: -1 }, { sign: 1 }]);
    expect(await verifyRollups(test.db, DAY)).toEqual([]);
  });

  it('of a service whose name no database can hold are counted and corrected like others', async () => {
    for (const name of ['shop\u0000', `${'x'.repeat(99)}\u{1f6d2}`]) {
      await empty();
      const resource = new Map([
        ['weir.customer', 'acme'],
        ['service.name', name],
      ]);
      await send([pointOf({ atMs: NOW - 5_000, value: '1000', resource })]);
      const cached = { name: `${TOKENS}.cache_read.input_tokens`, atMs: NOW - 5_000, value: '600' };
      expect(await send([pointOf({ ...cached, resource })])).toMatchObject([{ status: 'accepted' }]);
      // Of the sender's own, in the wrong order.
      const own = (back: number, value: string) => pointOf({ name: 'gpu', atMs: NOW - back, value, resource });
      await send([own(1_000, '8')]);
      await send([own(3_000, '5')]);
      expect(
        await test.db.query(sql`
          select coalesce(body #> '{data,quantities}', body #> '{data,value}') as used from event where live order by time`),
      ).toEqual([{ used: { input_tokens: '400', cache_read_tokens: '600' } }, { used: '5' }, { used: '3' }]);
    }
  });

  it('by a former name count where no later name says the same, though others of the resource do', async () => {
    const former = (model: string, value: string) =>
      pointOf({
        ...{ atMs: NOW - 5_000, value, name: 'gen_ai.client.token.usage', kind: 'histogram_sum', scope: 'older' },
        attributes: new Map([
          ['gen_ai.request.model', model],
          ['gen_ai.system', 'openai'],
          ['gen_ai.token.type', 'input'],
        ]),
      });
    await send([former('m', '10'), former('other', '7')]);
    const both = [
      { model: 'm', quantities: { input_tokens: '10' } },
      { model: 'other', quantities: { input_tokens: '7' } },
    ];
    expect(await counted()).toMatchObject(both);
    // The later name comes in a request of its own, from another library, with other attributes.
    await send([pointOf({ atMs: NOW - 5_000, value: '10' })]);
    expect(await counted()).toMatchObject(both);
    expect(await verifyRollups(test.db, DAY)).toEqual([]);
  });

  it('of one stream by the thousands are placed in a moment', async () => {
    const points = Array.from({ length: 20_000 }, (_, i) =>
      pointOf({ atMs: NOW - 1_000, value: `${i + 1}`, timeNanos: `${BigInt(NOW - 1_000) * 1_000_000n + BigInt(i)}` }),
    );
    await send([...points].reverse());
    expect(await counted()).toMatchObject([{ quantities: { input_tokens: '20000' } }]);
  });

  it('of a series whose start nobody knows count from the earliest of them on', async () => {
    const of = (atMs: number, value: string) => pointOf({ atMs, value, startNanos: '0' });
    await send([of(NOW - 4_000, '50')]);
    expect(await counted()).toEqual([]);
    await send([of(NOW - 2_000, '80')]);
    await send([of(NOW - 6_000, '45')]);
    expect(await counted()).toMatchObject([
      { time: NOW - 4_000, quantities: { input_tokens: '5' } },
      { time: NOW - 2_000, quantities: { input_tokens: '30' } },
    ]);
  });

  it('of a series that fell without saying so count from zero again', async () => {
    for (const [back, value] of [
      [6_000, '50'],
      [4_000, '20'],
      [2_000, '25'],
    ] as const)
      await send([pointOf({ atMs: NOW - back, value })]);
    expect((await counted()).map(({ quantities }) => quantities)).toEqual([
      { input_tokens: '50' },
      { input_tokens: '20' },
      { input_tokens: '5' },
    ]);
  });

  it('that say something else than before, or not when they are from, are kept aside and told', async () => {
    await send([pointOf({ atMs: NOW - 5_000, value: '10' })]);
    const wrong = [
      pointOf({ atMs: NOW - 5_000, value: '11' }),
      pointOf({ atMs: NOW, value: '12', timeNanos: '0' }),
      pointOf({ atMs: NOW - 3_000, value: '-1' }),
      pointOf({ atMs: NOW + 90_000_000, value: '30' }),
    ];
    expect(await send(wrong)).toMatchObject(wrong.map(() => ({ status: 'parked' })));
    expect(await counted()).toMatchObject([{ quantities: { input_tokens: '10' } }]);
    // A clock that was ahead for once takes nothing from what comes after.
    await send([pointOf({ atMs: NOW - 1_000, value: '40' })]);
    expect(await counted()).toMatchObject([
      { quantities: { input_tokens: '10' } },
      { quantities: { input_tokens: '30' } },
    ]);
  });

  it('leave the figures that a person gave, and follow whom a person gave them to', async () => {
    const correct = async (change: (data: Record<string, unknown>) => object, atMs: number) => {
      const [row] = await test.db.query<{ body: { id: string; source: string; data: Record<string, unknown> } }>(
        sql`select body from event where live`,
      );
      if (!row) throw new Error('there is no event');
      const { source, id: target, data } = row.body;
      const event = { ...row.body, data: change(data) };
      const correction = {
        ...{
          specversion: '1.0',
          id: `by-hand-${atMs}`,
          source: '/app',
          type: CORRECTION_TYPE,
          time: new Date(atMs).toISOString(),
        },
        data: { source, id: target, reason: 'it was wrong', event },
      };
      expect(await ingest(test.db, [correction], NOW)).toMatchObject([{ status: 'accepted' }]);
    };
    const cached = { name: `${TOKENS}.cache_read.input_tokens`, atMs: NOW - 5_000, value: '600' };
    await send([pointOf({ atMs: NOW - 5_000, value: '1000' })]);
    await correct((data) => ({ ...data, labels: { team: 'search' } }), NOW);
    await send([pointOf(cached)]);
    const bodies = () => test.db.query<{ data: object }>(sql`select body -> 'data' as data from event where live`);
    expect(await bodies()).toMatchObject([
      { data: { labels: { team: 'search' }, quantities: { input_tokens: '400', cache_read_tokens: '600' } } },
    ]);
    await correct((data) => ({ ...data, quantities: { input_tokens: '7' } }), NOW + 1);
    await send([pointOf({ ...cached, name: `${TOKENS}.output_tokens`, value: '5' })]);
    expect(await bodies()).toMatchObject([{ data: { quantities: { input_tokens: '7' } } }]);
  });

  it('stay with the customer to whom a person gave them, also where nothing was left of them for a while', async () => {
    const nobody = new Map([['weir.customer', 'acme-old']]);
    const of = (atMs: number, value: string, name = 'input_tokens') =>
      pointOf({ atMs, value, name: `${TOKENS}.${name}`, resource: nobody });
    await send([of(NOW - 2_000, '30')]);
    const [row] = await test.db.query<{ body: { id: string; source: string; data: object } }>(
      sql`select body from event where live`,
    );
    const { id = '', source = '' } = row?.body ?? {};
    const event = { ...row?.body, subject: 'acme', data: { ...row?.body.data, customer: 'acme' } };
    const correction = {
      ...{
        specversion: '1.0',
        id: 'by-hand',
        source: '/app',
        type: CORRECTION_TYPE,
        time: new Date(NOW).toISOString(),
      },
      data: { source, id, reason: 'it is theirs', event },
    };
    expect(await ingest(test.db, [correction], NOW)).toMatchObject([{ status: 'accepted' }]);
    // All of it was used before: the event is no more, until another point of its collection comes.
    await send([of(NOW - 4_000, '30')]);
    expect(await counted()).toMatchObject([{ time: NOW - 4_000 }]);
    await send([of(NOW - 2_000, '5', 'output_tokens')]);
    const rows = await test.db.query(
      sql`select customer, body #> '{data,quantities}' as quantities from event where live order by time`,
    );
    expect(rows).toEqual([
      { customer: 'acme-old', quantities: { input_tokens: '30' } },
      { customer: 'acme', quantities: { output_tokens: '5' } },
    ]);
  });

  it('are forgotten after a while, and count no second time for that', async () => {
    await send([pointOf({ atMs: NOW - 5_000, value: '10' })]);
    await send([pointOf({ atMs: NOW - 4_000, value: '30' })]);
    const delta = pointOf({ atMs: NOW - 4_000, value: '5', cumulative: false, name: `${TOKENS}.output_tokens` });
    await send([delta]);
    const before = await counted();
    const laterMs = NOW + 40 * 86_400_000;
    await forgetPoints(test.db, laterMs);
    expect(await test.db.query(sql`select value::text as value from otlp_point`)).toEqual([{ value: '30' }]);
    await send([pointOf({ atMs: NOW - 5_000, value: '10' })], laterMs);
    expect(await send([delta], laterMs)).toMatchObject([{ status: 'conflict' }]);
    expect(await counted()).toEqual(before);
    await send([pointOf({ atMs: laterMs - 1_000, value: '34' })], laterMs);
    expect((await counted()).at(-1)).toMatchObject({ quantities: { input_tokens: '4' } });
  });
});

/** A small generator with a seed, so that a failure can be run again. */
function randomOf(seed: number): () => number {
  let state = seed >>> 0 || 1;
  return () => {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0;
    return state / 2 ** 32;
  };
}
