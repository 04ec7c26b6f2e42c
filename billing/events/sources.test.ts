import { gzipSync } from 'node:zlib';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { sql } from '#billing/db/database.ts';
import { verifyRollups } from '#billing/repairs/verify.ts';
import { readUsage } from '#billing/usage/usage.ts';
import { type TestApi, testApi } from '#test/support/billing-api.ts';
import { DATABASE_KINDS } from '#test/support/database.ts';
import { usageEvent } from '#test/support/usage-events.ts';

const DAY = { startMs: Date.UTC(2026, 10, 20), endMs: Date.UTC(2026, 10, 21) };

describe.each(DATABASE_KINDS)('events from anywhere on %s', (kind) => {
  let api: TestApi;
  beforeAll(async () => {
    api = await testApi(kind);
  });
  afterAll(() => api.close());
  beforeEach(() =>
    api.test.db.script(
      'truncate event, event_id, event_conflict, event_parked, event_correction, event_template, usage_hour, cost_hour',
    ),
  );

  const send = async (path: string, body: string | Uint8Array<ArrayBuffer>, headers: Record<string, string>) => {
    const response = await api.app.fetch(
      new Request(`http://weir${path}`, {
        method: 'POST',
        headers: { authorization: `Bearer ${api.tokens.ingest}`, ...headers },
        body,
      }),
    );
    return { status: response.status, json: await response.json() };
  };
  const get = async (path: string) => (await api.call('GET', path)).json;
  const quantities = async (customer: string) => {
    const question = { customer, period: DAY, groupBy: [], zone: 'UTC' };
    const found = (await readUsage(api.test.db, question))[0]?.quantities ?? {};
    // What was taken back leaves a sum of nothing.
    return Object.fromEntries(Object.entries(found).filter(([, quantity]) => quantity !== '0'));
  };

  it('takes NDJSON, where a line that is no JSON stands alone', async () => {
    const lines = [JSON.stringify(usageEvent()), '{"specversion":', '', JSON.stringify(usageEvent())];
    const answer = await send('/v1/events', lines.join('\n'), { 'content-type': 'application/x-ndjson' });
    expect(answer).toMatchObject({
      status: 200,
      json: { accepted: 2, parked: 1, results: [{}, { index: 1, reason: 'malformed' }, {}] },
    });
    expect((await get('/v1/events/parked')).data).toMatchObject([{ body: '"{\\"specversion\\":"' }]);
  });

  it('takes CSV, whose formulas are text and whose broken rows stand alone', async () => {
    const csv = [
      '\ufeffid,source,type,subject,time,data.model,data.quantities.output_tokens,data.labels.note',
      'a,/csv,weir.usage.v1,acme,2026-11-20T09:00:00Z,gpt-4o,12,"=HYPERLINK(""http://x"",""y"")"',
      'b,/csv,weir.usage.v1,acme,2026-11-20T09:00:00Z,gpt-4o,NaN,-1+1',
      'c,/csv,weir.usage.v1,acme',
      'd,/csv,ticket.resolved,acme,2026-11-20T09:00:00Z,,,"a\nb"',
    ].join('\r\n');
    const answer = await send('/v1/events', csv, { 'content-type': 'text/csv; charset=utf-8' });
    expect(answer.json).toMatchObject({
      accepted: 2,
      parked: 2,
      results: [
        { status: 'accepted' },
        { status: 'parked', errors: [{ pointer: '#/1/data/quantities/output_tokens' }] },
        { status: 'parked', detail: expect.stringContaining('line 4: has 4 cells') },
        { status: 'accepted' },
      ],
    });
    expect((await get('/v1/events/a')).data[0].event.data.labels).toEqual({ note: '=HYPERLINK("http://x","y")' });
    expect(await quantities('acme')).toEqual({ output_tokens: '12' });
    expect(await send('/v1/events', 'id,id\n1,2', { 'content-type': 'text/csv' })).toMatchObject({ status: 400 });
    expect(await send('/v1/events', 'id\n"1', { 'content-type': 'text/csv' })).toMatchObject({ status: 400 });
    expect(await send('/v1/events', 'id,__proto__.x\n1,2', { 'content-type': 'text/csv' })).toMatchObject({
      status: 400,
    });
  });

  it('takes a CloudEvent in binary mode', async () => {
    const headers = {
      'content-type': 'application/json',
      'ce-specversion': '1.0',
      'ce-id': 'bin-1',
      'ce-source': '/b%C3%BCro',
      'ce-type': 'ticket.resolved',
      'ce-subject': 'acme',
      'ce-time': '2026-11-20T09:00:00Z',
    };
    expect(await send('/v1/events', '{"minutes":12.50}', headers)).toMatchObject({
      status: 200,
      json: { accepted: 1 },
    });
    expect((await get('/v1/events/bin-1')).data[0].event).toMatchObject({
      source: '/büro',
      subject: 'acme',
      data: { minutes: 12.5 },
    });
    expect((await send('/v1/events', '{"minutes":12.50}', headers)).json.results[0].status).toBe('duplicate');
    expect(await send('/v1/events', '{"minutes":13}', headers)).toMatchObject({ status: 409 });
    expect(await send('/v1/events', 'x', { ...headers, 'content-type': 'text/plain' })).toMatchObject({ status: 400 });
  });

  it('unpacks gzip, and no more of it than a body may hold', async () => {
    const body = Uint8Array.from(gzipSync(JSON.stringify([usageEvent()])));
    const headers = { 'content-type': 'application/json', 'content-encoding': 'gzip' };
    expect(await send('/v1/events', body, headers)).toMatchObject({ status: 200, json: { accepted: 1 } });
    const bomb = Uint8Array.from(gzipSync(Buffer.alloc(64 * 1024 * 1024, ' ')));
    expect(await send('/v1/events', bomb, headers)).toMatchObject({ status: 413 });
    expect(await send('/v1/events', 'no gzip', headers)).toMatchObject({ status: 400 });
    expect(await send('/v1/events', 'x', { ...headers, 'content-encoding': 'br' })).toMatchObject({ status: 400 });
  });

  it('keeps the numbers of events to the last digit, whatever a binary float makes of them', async () => {
    const event = (id: string, n: string) =>
      `{"specversion":"1.0","id":"${id}","source":"/n","type":"x.y","subject":"acme","data":{"n":${n}}}`;
    const numbers = [
      '0.1',
      '123456789012345678.123456789012345678901234567890',
      '-9007199254740993',
      '1.5e3',
      '100.00',
    ];
    const batch = `[${numbers.map((n, i) => event(`n${i}`, n)).join(',')}]`;
    expect(await send('/v1/events', batch, { 'content-type': 'application/json' })).toMatchObject({
      json: { accepted: 5 },
    });
    const rows = await api.test.db.query<{ n: string }>(
      sql`select (body #>> '{data,n}')::numeric::text as n from event order by id`,
    );
    expect(rows.map((row) => row.n)).toEqual([
      ...['0.1', '123456789012345678.12345678901234567890123456789', '-9007199254740993', '1500', '100'],
    ]);
    const response = await api.app.fetch(
      new Request('http://weir/v1/events/n1', { headers: { authorization: `Bearer ${api.tokens.admin}` } }),
    );
    expect(await response.text()).toContain('"n":123456789012345678.12345678901234567890123456789');
    // Equal numbers are equal bodies; the next is another.
    const send1 = (n: string) => send('/v1/events', event('n1', n), { 'content-type': 'application/json' });
    expect((await send1('123456789012345678.1234567890123456789012345678900')).json.results[0].status).toBe(
      'duplicate',
    );
    expect(await send1('123456789012345678.12345678901234567890123456788')).toMatchObject({ status: 409 });
    for (const n of ['1e400', '1234567890123456789', `0.${'1'.repeat(31)}`]) {
      expect(await send('/v1/events', event('far', n), { 'content-type': 'application/json' })).toMatchObject({
        status: 422,
        json: {
          code: 'validation_failed',
          errors: [{ pointer: '#/data/n', detail: expect.stringContaining('digits') }],
        },
      });
    }
  });

  it('lets 9,999 of 10,000 rows through and names the one that is bad', { timeout: 60_000 }, async () => {
    const rows = Array.from({ length: 10_000 }, (_, i) => ({
      ...{ id: `r${i}`, customer: 'acme', model: 'gpt-4o', time: '2026-11-20T09:00:00Z' },
      ...{ input_tokens: 1, output_tokens: i === 4_321 ? -1 : 2 },
    }));
    const answer = await send('/v1/events/completions?results=problems', JSON.stringify(rows), {
      'content-type': 'application/json',
    });
    expect(answer.json).toEqual({
      ...{ accepted: 9_999, duplicate: 0, conflict: 0, parked: 1 },
      results: [
        {
          ...{ index: 4_321, source: null, id: 'r4321', status: 'parked', reason: 'malformed' },
          detail: expect.stringContaining('output_tokens'),
          errors: [{ pointer: '#/4321/output_tokens', detail: expect.stringContaining('not negative') }],
        },
      ],
    });
    expect(await quantities('acme')).toEqual({ calls: '9999', input_tokens: '9999', output_tokens: '19998' });
    expect(await verifyRollups(api.test.db, DAY)).toEqual([]);
  });

  it('takes each kind of call by its figures, in JSON, NDJSON and CSV', async () => {
    const at = { customer: 'acme', time: '2026-11-20T09:00:00Z' };
    const json = { 'content-type': 'application/json' };
    const post = (kind_: string, row: object) => send(`/v1/events/${kind_}`, JSON.stringify(row), json);
    const completion = {
      ...at,
      id: 'c1',
      model: 'gpt-4o',
      input_tokens: 1200,
      output_tokens: '250',
      product: 'search',
    };
    expect(await post('completions', completion)).toMatchObject({ status: 200, json: { accepted: 1 } });
    expect((await post('completions', completion)).json.duplicate).toBe(1);
    expect(await post('completions', { ...completion, output_tokens: 251 })).toMatchObject({ status: 409 });
    expect(await post('images', { ...at, id: 'i1', model: 'dall-e-3', images: 2 })).toMatchObject({ status: 200 });
    expect(await post('audio', { ...at, id: 'a1', model: 'whisper-1', audio_seconds: '12.345' })).toMatchObject({
      status: 200,
    });
    expect(await post('video', { ...at, id: 'v1', model: 'sora-2', video_seconds: 8 })).toMatchObject({ status: 200 });
    expect(await post('tool_calls', { ...at, id: 't1', tool: 'search' })).toMatchObject({ status: 200 });
    expect(
      await post('custom', { ...at, id: 'g1', type: 'ticket.resolved', properties: { minutes: 7 } }),
    ).toMatchObject({
      status: 200,
    });
    const csv = 'id,customer,time,model,images\ni2,acme,2026-11-20T09:00:00Z,dall-e-3,3\n';
    expect(await send('/v1/events/images', csv, { 'content-type': 'text/csv' })).toMatchObject({
      json: { accepted: 1 },
    });
    expect(await quantities('acme')).toEqual({
      ...{ calls: '6', input_tokens: '1200', output_tokens: '250', images: '5', audio_seconds: '12.345' },
      ...{ video_seconds: '8', tool_calls: '1' },
    });
    expect((await get('/v1/events/g1')).data[0].event).toMatchObject({
      type: 'ticket.resolved',
      data: { properties: { minutes: 7 } },
    });
    expect((await get('/v1/events?type=ticket.resolved')).data).toHaveLength(1);
    expect((await get('/v1/events/c1')).data[0].event.data.labels).toEqual({ product: 'search' });
  });

  it('names each mistake of a single event by its place', async () => {
    const json = { 'content-type': 'application/json' };
    const post = (row: object) => send('/v1/events/completions', JSON.stringify(row), json);
    const row = { id: 'x', customer: 'acme', model: 'gpt-4o', input_tokens: 1, output_tokens: 1 };
    expect(await post({ ...row, tokens: 3, input_tokens: 'NaN', time: '2026' })).toMatchObject({
      status: 422,
      json: {
        code: 'validation_failed',
        errors: expect.arrayContaining([
          { pointer: '#/tokens', detail: expect.any(String) },
          { pointer: '#/input_tokens', detail: expect.any(String) },
        ]),
      },
    });
    for (const time of ['2026', '2019-12-31T23:59:59Z', '2026-11-22T12:00:00Z']) {
      expect(await post({ ...row, time })).toMatchObject({ status: 422, json: { errors: [{ pointer: '#/time' }] } });
    }
    expect((await get('/v1/events/parked')).data).toHaveLength(4);
    expect(await quantities('acme')).toEqual({});
  });

  it('counts an event without a time at the instant when it came, and its repeat not again', async () => {
    const { time: _, ...event } = usageEvent();
    expect((await api.call('POST', '/v1/events', { body: event })).json.accepted).toBe(1);
    api.clock.nowMs += 5_000;
    expect((await api.call('POST', '/v1/events', { body: event })).json.duplicate).toBe(1);
    expect((await get(`/v1/events/${event.id}`)).data[0].time).toBe('2026-11-20T12:00:00.000Z');
    api.clock.nowMs -= 5_000;
  });

  it('finds the customer of an event by its key, and keeps in sight what names nobody', async () => {
    await api.call('POST', '/v1/customers', { body: { id: 'acme', name: 'Acme' } });
    await api.call('POST', '/v1/keys', { body: { id: 'acme-prod', customer: 'acme', name: 'prod' } });
    const call = { time: '2026-11-20T09:00:00Z', model: 'gpt-4o', input_tokens: 1, output_tokens: 1 };
    const rows = [
      { ...call, id: 'k1', key: 'acme-prod' },
      { ...call, id: 'k2', key: 'nobody' },
      { ...call, id: 'k3' },
    ];
    expect((await api.call('POST', '/v1/events/completions', { body: rows })).json.accepted).toBe(3);
    expect(await quantities('acme')).toMatchObject({ calls: '1' });
    const listed = await get('/v1/events?attributed=false');
    expect(listed.data.map((row: { event: { id: string }; customer: null }) => [row.event.id, row.customer])).toEqual([
      ['k3', null],
      ['k2', null],
    ]);
    expect((await api.call('POST', '/v1/events/completions', { body: rows })).json.duplicate).toBe(3);
  });

  it('lists usage of nobody that is known, and gives it to a customer', async () => {
    const call = { time: '2026-11-20T09:00:00Z', model: 'gpt-4o', output_tokens: 1 };
    const rows = [
      { ...call, id: 'u1', input_tokens: 1 },
      { ...call, id: 'u2', input_tokens: 2, customer: 'Acme Inc' },
      { ...call, id: 'u3', input_tokens: 3, customer: 'Acme Inc' },
    ];
    await api.call('POST', '/v1/events/completions', { body: rows });
    const { time: _, ...timeless } = usageEvent({ id: 'u4', customer: 'Acme Inc', quantities: { calls: '1' } });
    await api.call('POST', '/v1/events', { body: timeless });
    await api.call('POST', '/v1/customers', { body: { id: 'acme-inc', name: 'Acme' } });
    expect((await get('/v1/events/unattributed')).data).toMatchObject([
      { name: null, events: '1' },
      { name: 'Acme Inc', events: '3', first_at: '2026-11-20T09:00:00.000Z' },
    ]);
    expect((await get('/v1/events/unattributed?limit=1')).next_cursor).not.toBeNull();
    const give = (body: object) => api.call('POST', '/v1/events/attributions', { body });
    expect(await give({ name: 'Acme Inc', customer: 'nobody' })).toMatchObject({ status: 404 });
    expect((await give({ name: 'Acme Inc', customer: 'acme-inc' })).json).toEqual({ attributed: 3, more: false });
    expect((await give({ name: null, customer: 'acme-inc', ids: ['u1'] })).json).toEqual({
      attributed: 1,
      more: false,
    });
    expect(await quantities('acme-inc')).toEqual({ calls: '4', input_tokens: '6', output_tokens: '3' });
    expect(await quantities('Acme Inc')).toEqual({});
    expect((await get('/v1/events/unattributed')).data).toEqual([]);
    expect((await get('/v1/events/u2/history')).corrections).toMatchObject([{ reason: 'attributed', applied: true }]);
    expect((await get('/v1/events/u4')).data).toMatchObject([
      { customer: 'acme-inc', time: '2026-11-20T12:00:00.000Z' },
    ]);
    expect(await verifyRollups(api.test.db, DAY)).toEqual([]);
  });

  it('corrects and deletes an event, and shows its history', async () => {
    const event = usageEvent({ id: 'h1', quantities: { calls: '1' } });
    await api.call('POST', '/v1/events', { body: event });
    const fix = (body: object) => api.call('POST', '/v1/events/corrections', { body });
    const target = { source: event.source, id: 'h1', reason: 'counted twice at the source' };
    expect(await fix({ ...target, id: 'none', event: null })).toMatchObject({ status: 404 });
    expect(await fix({ ...target, event: { ...event, id: 'h2' } })).toMatchObject({
      status: 422,
      json: { errors: [{ pointer: '#/event' }] },
    });
    expect((await get('/v1/events/parked')).data).toEqual([]);
    expect(await fix({ ...target, event: usageEvent({ id: 'h1', quantities: { calls: '2' } }) })).toMatchObject({
      status: 200,
    });
    expect(await quantities('acme')).toEqual({ calls: '2' });
    api.clock.nowMs += 1;
    expect(await fix({ ...target, event: null })).toMatchObject({ status: 200 });
    expect(await quantities('acme')).toEqual({});
    expect(await get('/v1/events/h1')).toMatchObject({ code: 'not_found' });
    expect((await get('/v1/events/h1/history')).revisions.map((row: { counts: string }) => row.counts)).toEqual([
      ...['added', 'taken_back', 'added', 'taken_back'],
    ]);
    api.clock.nowMs -= 1;
  });

  it('reads a format of somebody’s own through a template, and reads again what a better template can', async () => {
    const template = {
      name: 'Acme gateway log',
      schema: { type: 'object', required: ['req', 'usage'], properties: { usage: { type: 'object' } } },
      mapping: {
        id: '/req/uuid',
        customer: '/req/org~1name',
        time: { pointer: '/req/ts', unix: 's' },
        model: { pointer: ['/model/served', '/model/asked'], default: 'unknown' },
        provider: { const: 'acme-ai' },
        labels: { region: '/req/region' },
        quantities: { input_tokens: '/usage/in', audio_seconds: { pointer: '/usage/ms', times: '0.001' } },
      },
    };
    const put = (id: string, body: object) => api.call('PUT', `/v1/templates/${id}`, { body });
    expect(await put('completions', template)).toMatchObject({ status: 409 });
    expect(await put('acme-log', { ...template, schema: { type: 'array', uniqueItems: true } })).toMatchObject({
      json: { errors: [{ pointer: '#/schema/uniqueItems' }] },
    });
    expect(await put('acme-log', { ...template, schema: { type: 'string', pattern: '(a+)+$' } })).toMatchObject({
      status: 422,
      json: { errors: [{ pointer: '#/schema/pattern' }] },
    });
    expect(await put('acme-log', { ...template, mapping: { ...template.mapping, id: 'req' } })).toMatchObject({
      status: 422,
    });
    expect(await put('acme-log', template)).toMatchObject({ status: 200, json: { id: 'acme-log' } });
    const row = (uuid: string, usage: unknown) => ({
      req: { uuid, 'org/name': 'acme', ts: 1795165200, region: 'eu' },
      model: { asked: 'm1' },
      usage,
    });

    const preview = await api.call('POST', '/v1/templates/acme-log/preview', {
      body: { rows: [row('p1', { in: 5, ms: 1500 }), { usage: 3 }] },
    });
    expect(preview.json).toMatchObject({
      matched: 1,
      unused_places: ['/model/served'],
      rows: [
        {
          event: {
            ...{ id: 'p1', source: '/templates/acme-log', subject: 'acme', time: '2026-11-20T09:00:00.000Z' },
            data: { model: 'm1', labels: { region: 'eu' }, quantities: { input_tokens: '5', audio_seconds: '1.5' } },
          },
          errors: [],
        },
        { event: null, errors: [{ pointer: '#/req' }, { pointer: '#/usage' }] },
      ],
    });
    expect((await get('/v1/events')).data).toEqual([]);

    const post = (rows: unknown[]) =>
      send('/v1/templates/acme-log/events', rows.map((each) => JSON.stringify(each)).join('\n'), {
        'content-type': 'application/x-ndjson',
      });
    expect(
      (await post([row('t1', { in: 5, ms: 1500 }), row('t2', { in: 'many' }), { nothing: 1 }])).json,
    ).toMatchObject({
      ...{ accepted: 1, parked: 2 },
      results: [
        {},
        { errors: [{ pointer: '#/1/usage/in' }] },
        { errors: expect.arrayContaining([{ pointer: '#/2/req', detail: expect.any(String) }]) },
      ],
    });
    expect(await quantities('acme')).toEqual({ input_tokens: '5', audio_seconds: '1.5' });
    // A renamed field: nothing is lost, and nothing is counted as zero.
    const renamed = [row('t3', { input: 7 }), row('t4', { input: 8 })].map(({ usage, ...rest }) => ({
      ...rest,
      used: usage,
    }));
    expect(await post(renamed)).toMatchObject({
      status: 422,
      json: { code: 'template_matches_nothing', errors: [{ pointer: '#/0/usage' }, { pointer: '#/1/usage' }] },
    });
    const parked = await get('/v1/events/parked?template=acme-log');
    expect(parked.data).toHaveLength(4);
    const mended = {
      ...template,
      schema: null,
      mapping: { ...template.mapping, quantities: { input_tokens: { pointer: ['/usage/in', '/used/input'] } } },
    };
    await put('acme-log', mended);
    const retry = () => api.call('POST', '/v1/events/parked/retry', { body: { template: 'acme-log' } });
    expect((await retry()).json).toEqual({ counted: 2 });
    expect((await retry()).json).toEqual({ counted: 0 });
    expect(await quantities('acme')).toEqual({ input_tokens: '20', audio_seconds: '1.5' });
    const left = (await get('/v1/events/parked')).data;
    expect(left).toHaveLength(2);
    expect(await api.call('DELETE', `/v1/events/parked/${left[0].number}`)).toMatchObject({ status: 200 });
    expect((await get('/v1/events/parked')).data).toHaveLength(1);
    expect(await api.call('DELETE', '/v1/templates/acme-log')).toMatchObject({ status: 200 });
    expect(await get('/v1/templates')).toEqual({ data: [], next_cursor: null });
    expect((await retry()).json).toEqual({ counted: 0 });
  });
});
