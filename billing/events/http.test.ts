import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { type TestApi, testApi } from '#test/support/billing-api.ts';
import { DATABASE_KINDS } from '#test/support/database.ts';
import { usageEvent } from '#test/support/usage-events.ts';

describe.each(DATABASE_KINDS)('the events of the API on %s', (kind) => {
  let api: TestApi;
  beforeAll(async () => {
    api = await testApi(kind);
  });
  afterAll(() => api.close());
  beforeEach(() => api.test.db.script('truncate event, event_id, event_conflict, event_parked, usage_hour, cost_hour'));

  const post = (body: unknown, options: { idempotencyKey?: string } = {}) =>
    api.call('POST', '/v1/events', { token: api.tokens.ingest, body, ...options });

  it('takes one event, answers its repeat as a duplicate, and refuses and lists another body', async () => {
    const event = usageEvent();
    expect(await post(event)).toMatchObject({
      status: 200,
      json: { results: [{ source: event.source, id: event.id, status: 'accepted' }] },
    });
    expect((await post(event)).json.results).toMatchObject([{ status: 'duplicate' }]);
    const other = { ...event, data: { ...event.data, duration_ms: 1 } };
    const conflict = await post(other, { idempotencyKey: 'a' });
    expect(conflict).toMatchObject({ status: 409, json: { code: 'event_conflict' } });
    expect(await post(other, { idempotencyKey: 'a' })).toMatchObject({ status: 409, json: { code: 'event_conflict' } });
    const listed = await api.call('GET', '/v1/events/conflicts');
    expect(listed.json).toEqual({
      data: [{ source: event.source, id: event.id, received_at: '2026-11-20T12:00:00.000Z', event: other }],
      next_cursor: null,
    });
    expect((await api.call('GET', `/v1/events/${event.id}`)).json).toEqual({
      data: [{ event, customer: 'acme', time: event.time, received_at: '2026-11-20T12:00:00.000Z' }],
    });
    expect((await api.call('GET', '/v1/events/req_none')).json).toMatchObject({ code: 'not_found' });
  });

  it('names those of the ids of a source that no event has come with', async () => {
    const [a, b] = [usageEvent(), usageEvent()];
    await post([a, b]);
    const ids = ['req_never', a.id, b.id, 'req_neither'];
    const ask = (source: string) =>
      api.call('POST', '/v1/events/missing', { token: api.tokens.ingest, body: { source, ids } });
    expect((await ask(a.source)).json).toEqual({ missing: ['req_never', 'req_neither'] });
    expect((await ask('/other')).json).toEqual({ missing: ids });
  });

  it('refuses what is no cursor and no text', async () => {
    const cursor = Buffer.from(JSON.stringify(['soon', '/s', 'x'])).toString('base64url');
    expect(await api.call('GET', `/v1/events?cursor=${cursor}`)).toMatchObject({ status: 422 });
    expect(await api.call('GET', '/v1/usage?customer=%00')).toMatchObject({ status: 400 });
    expect(await api.call('POST', '/v1/customers', { body: { name: 'a\u0000b' } })).toMatchObject({ status: 400 });
  });

  it('takes a batch, each event alone', async () => {
    const [a, b] = [usageEvent(), usageEvent()];
    const newer = { ...usageEvent(), type: 'weir.usage.v2' };
    const answer = await post([
      a,
      { ...a, source: '/other' },
      { ...a, time: b.time, data: b.data, subject: 'x' },
      7,
      newer,
      b,
      b,
    ]);
    expect(answer.status).toBe(200);
    expect(answer.json.results.map((row: { status: string; reason?: string }) => row.reason ?? row.status)).toEqual([
      ...['accepted', 'accepted', 'malformed', 'malformed', 'unknown_type', 'accepted', 'duplicate'],
    ]);
    const parked = await api.call('GET', '/v1/events/parked?limit=2');
    expect(parked.json.data.map((row: { reason: string }) => row.reason)).toHaveLength(2);
    const rest = await api.call('GET', `/v1/events/parked?limit=2&cursor=${parked.json.next_cursor}`);
    expect(rest.json).toMatchObject({ data: [expect.anything()], next_cursor: null });
    expect((await api.call('GET', '/v1/events/parked?reason=unknown_type')).json.data).toMatchObject([
      { id: newer.id, reason: 'unknown_type', body: expect.stringContaining('weir.usage.v2') },
    ]);
    expect((await api.call('POST', '/v1/events/parked/retry', { body: {} })).json).toEqual({ counted: 0 });
  });

  it("takes CloudEvents' own content types, and no body over the bound", async () => {
    const send = (type: string, body: string) =>
      api.app.fetch(
        new Request('http://weir/v1/events', {
          method: 'POST',
          headers: { authorization: `Bearer ${api.tokens.ingest}`, 'content-type': type },
          body,
        }),
      );
    const one = JSON.stringify(usageEvent());
    expect((await send('application/cloudevents+json', one)).status).toBe(200);
    expect((await send('application/cloudevents-batch+json; charset=utf-8', `[${one}]`)).status).toBe(200);
    expect((await send('text/plain', one)).status).toBe(400);
    expect((await send('application/json', '[]')).status).toBe(422);
    expect((await send('application/json', `"${'x'.repeat(16 * 1024 * 1024)}"`)).status).toBe(413);
    expect((await post({ id: 'no CloudEvent' })).status).toBe(422);
    expect((await post(Array.from({ length: 10_001 }, () => 0))).status).toBe(422);
  });

  it('pages through events newest first, filtered, without repeating or dropping one of the same instant', async () => {
    const atMs = Date.UTC(2026, 10, 20, 9);
    const events = Array.from({ length: 9 }, (_, i) =>
      usageEvent({ id: `req_${i}`, atMs: atMs + (i >> 2), customer: i === 8 ? 'other' : 'acme', model: `m${i % 2}` }),
    );
    await post(events);
    const idsOf = async (query: string): Promise<string[]> => {
      const { json } = await api.call('GET', `/v1/events?${query}`);
      const ids = json.data.map((row: { event: { id: string } }) => row.event.id);
      return json.next_cursor
        ? [...ids, ...(await idsOf(`${query.replace(/&cursor.*/, '')}&cursor=${json.next_cursor}`))]
        : ids;
    };
    expect(await idsOf('limit=3')).toEqual([8, 7, 6, 5, 4, 3, 2, 1, 0].map((i) => `req_${i}`));
    expect(await idsOf('customer=acme&model=m1&limit=1')).toEqual(['req_7', 'req_5', 'req_3', 'req_1']);
    expect(await idsOf('from=2026-11-20T09:00:00.001Z&to=2026-11-20T09:00:00.002Z')).toEqual(
      [7, 6, 5, 4].map((i) => `req_${i}`),
    );
    expect((await api.call('GET', '/v1/events?cursor=e30')).status).toBe(422);
    expect((await api.call('GET', '/v1/events/parked?cursor=WyJ4Il0')).status).toBe(422);
  });
});
