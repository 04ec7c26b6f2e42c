import { afterAll, beforeAll, expect, it } from 'vitest';
import { type TestApi, testApi } from '#test/support/billing-api.ts';
import { usageEvent } from '#test/support/usage-events.ts';

let api: TestApi;
const get = async (path: string) => (await api.call('GET', path)).json;
const make = (body: object) => api.call('POST', '/v1/meters', { body });
const used = (atMs: number, properties: Record<string, unknown>) => usageEvent({ atMs, properties, quantities: {} });

beforeAll(async () => {
  api = await testApi('postgres');
  await api.call('POST', '/v1/customers', { body: { id: 'acme', name: 'Acme', timezone: 'Asia/Kathmandu' } });
});
afterAll(() => api.close());

it('reads a meter by its dimensions and by days, hours and minutes of a zone with quarters', async () => {
  await make({
    id: 'size',
    name: 'Size',
    aggregation: 'sum',
    value: 'properties.size',
    dimensions: ['properties.region'],
  });
  // Midnight in Kathmandu is 18:15 in UTC.
  const midnight = Date.UTC(2026, 10, 19, 18, 15);
  const events = [
    used(midnight - 1, { size: '1', region: 'eu' }),
    used(midnight, { size: '2', region: 'eu' }),
    used(midnight + 60_000, { size: '4' }),
    used(midnight + 3_600_000, { size: '8', region: 'eu' }),
  ];
  await api.call('POST', '/v1/events', { body: events });
  const readings = async (query: string) =>
    (await get(`/v1/usage/meters/size?customer=acme&${query}`)).readings.map(
      (one: { start: string; dimensions: Record<string, string>; quantity: string }) =>
        `${one.start.slice(8, 16)} ${one.dimensions['properties.region'] ?? '-'} ${one.quantity}`,
    );
  expect(await readings('')).toEqual(['31T18:15 eu 11', '31T18:15 - 4']);
  expect(await readings('by=day')).toEqual(['18T18:15 eu 1', '19T18:15 eu 10', '19T18:15 - 4']);
  expect(await readings('by=hour&from=2026-11-19T18:00:00Z&to=2026-11-19T20:00:00Z')).toEqual([
    '19T18:00 eu 3',
    '19T18:00 - 4',
    '19T19:00 eu 8',
  ]);
  expect(await readings('by=minute&from=2026-11-19T18:10:00Z&to=2026-11-19T18:20:00Z')).toEqual([
    '19T18:14 eu 1',
    '19T18:15 eu 2',
    '19T18:16 - 4',
  ]);
  expect(await get('/v1/usage/meters/size?customer=acme')).toMatchObject({
    meter: 'size',
    version: 1,
    timezone: 'Asia/Kathmandu',
    unmeasured_from: null,
  });
});

it('refuses questions that have no answer', async () => {
  expect(await get('/v1/usage/meters/nothing?customer=acme')).toMatchObject({ code: 'not_found' });
  expect(await get('/v1/usage/meters/calls?customer=acme')).toMatchObject({ code: 'state_conflict' });
  expect(await get('/v1/usage/meters/size')).toMatchObject({ code: 'validation_failed' });
  expect(await get('/v1/usage/meters/size?customer=acme&version=9')).toMatchObject({ code: 'not_found' });
  const wide = 'from=2026-11-01T00:00:00Z&to=2026-11-02T00:00:00Z';
  expect(await get(`/v1/usage/meters/size?customer=acme&by=minute&${wide}`)).toMatchObject({
    code: 'validation_failed',
  });
  expect(
    await get('/v1/usage/meters/size?customer=acme&from=2026-11-20T00:00:00Z&to=2026-11-20T00:00:00Z'),
  ).toMatchObject({
    code: 'validation_failed',
  });
});

it('reads no more windows at once than it can hold', async () => {
  await make({ id: 'minutes', name: 'Minutes', aggregation: 'max', value: 'properties.size', window: 'minute' });
  const minutes = (to: string) => get(`/v1/usage/meters/minutes?customer=acme&from=2026-11-01T00:00:00Z&to=${to}`);
  expect(await minutes('2026-12-01T00:00:00Z')).toMatchObject({ readings: [] });
  expect(await minutes('9999-01-01T00:00:00Z')).toMatchObject({
    code: 'validation_failed',
    errors: [{ parameter: 'to' }],
  });
});

it('says with a pointer what is wrong with a meter', async () => {
  const answer = await make({
    id: 'bad',
    name: 'Bad',
    aggregation: 'sum',
    value: 'a +',
    filter: 'for(;;)',
    windw: 'day',
  });
  expect(answer.status).toBe(422);
  expect(answer.json.errors.map((issue: { pointer: string }) => issue.pointer)).toEqual(
    expect.arrayContaining(['#/value', '#/filter']),
  );
  expect((await make({ id: 'bad', name: 'Bad', aggregation: 'max' })).json.errors).toMatchObject([
    { pointer: '#/value' },
  ]);
});

it('lists events that a meter cannot measure, and measures the rest', async () => {
  await make({ id: 'strict', name: 'Strict', aggregation: 'sum', value: '100 / properties.parts' });
  const atMs = Date.UTC(2026, 10, 20, 9);
  const given: [unknown, string | null][] = [
    ['4', null],
    ['many', 'wants a number, not "many"'],
    [0, 'divides by zero'],
    [-5, 'is below zero: -20/1'],
    [3, 'has more than 30 decimals; round(…, 9) would keep nine'],
    ['0.0000000000000000000001', 'has more than 18 digits before the point'],
    [{ not: 'a number' }, null],
    [null, null],
  ];
  const events = given.map(([parts], i) => ({ ...used(atMs + i, { parts }), id: `strict-${i}` }));
  const { json } = await api.call('POST', '/v1/events', { body: events });
  expect(json.accepted ?? json.results?.length).toBeDefined();
  const problems = (await get('/v1/meters/strict/problems')).data;
  expect(problems.map(({ id, detail }: { id: string; detail: string }) => [id, detail])).toEqual(
    given.flatMap(([, detail], i) => (detail === null ? [] : [[`strict-${i}`, detail]])),
  );
  expect((await get('/v1/meters/strict/problems?limit=2')).next_cursor).not.toBeNull();
  expect((await get('/v1/usage/meters/strict?customer=acme')).readings).toMatchObject([{ quantity: '25' }]);
});

it('makes a version of each change, and reads the one that is asked for', async () => {
  const terms = { name: 'Versions', aggregation: 'max', value: 'properties.size' };
  await make({ id: 'versions', ...terms });
  const put = (body: object) => api.call('PUT', '/v1/meters/versions', { body });
  expect((await put(terms)).json).toMatchObject({ version: 1 });
  expect((await put({ ...terms, aggregation: 'min' })).json).toMatchObject({ version: 2, aggregation: 'min' });
  expect((await get('/v1/meters/versions/versions')).data).toMatchObject([{ version: 1 }, { version: 2 }]);
  expect((await api.call('PUT', '/v1/meters/calls', { body: terms })).json).toMatchObject({ code: 'state_conflict' });
  expect((await api.call('PUT', '/v1/meters/none', { body: terms })).json).toMatchObject({ code: 'not_found' });
});
