import { randomUUID } from 'node:crypto';
import { describe, expect, it } from 'vitest';
import { LOOK_MS, type OpenCall, type Stored, type StoredObject } from '#proxy/stored/stored.ts';
import { sampleClosing, sampleOpening } from '#test/support/usage.ts';

/** What every store of what providers keep has to do. Each test has a customer of its own. */
export function storedConformance(name: string, open: () => Stored): void {
  describe(`the store of what providers keep: ${name}`, () => {
    it('finds a thing for the customer who made it, whole, and for nobody else', async () => {
      const { objects } = open();
      const own = sampleObject(`customer ${randomUUID()}`);
      await objects.keep(own);
      const ordinary = { ...own, id: 'resp_ordinary', call: null };
      await objects.keep(ordinary);
      expect(await objects.find(own.customer, own.id)).toEqual(own);
      expect(await objects.find(own.customer, ordinary.id)).toEqual(ordinary);
      expect(await objects.find('somebody', ordinary.id)).toBeUndefined();
      expect(await objects.find('somebody', own.id)).toBeUndefined();
      expect(await objects.find(own.customer, 'resp_2')).toBeUndefined();
    });

    it("knows of a file that it is somebody's, whoever asks", async () => {
      const { objects } = open();
      const id = `file-${randomUUID()}`;
      expect(await objects.isFile(id)).toBe(false);
      await objects.keep({ ...sampleObject(randomUUID()), id, kind: 'file' });
      expect(await objects.isFile(id)).toBe(true);
      await objects.keep({ ...sampleObject(randomUUID()), id: 'resp_3' });
      expect(await objects.isFile('resp_3')).toBe(false);
    });

    it('has a file that is sent again under its name for who sent it last', async () => {
      const { objects } = open();
      const file = { ...sampleObject(`customer ${randomUUID()}`), id: `file-${randomUUID()}`, kind: 'file' as const };
      const next = { ...file, customer: randomUUID() };
      const elsewhere = { ...file, customer: randomUUID(), upstream: 'elsewhere' };
      await objects.keep(file);
      await objects.keep(elsewhere);
      expect(await objects.find(file.customer, file.id)).toEqual(file);
      await objects.keep(next);
      expect(await objects.find(next.customer, file.id)).toEqual(next);
      expect(await objects.find(file.customer, file.id)).toBeUndefined();
      expect(await objects.find(elsewhere.customer, file.id)).toEqual(elsewhere);
      expect(await objects.isFile(file.id)).toBe(true);
    });

    it('has the last word on a thing that is kept again', async () => {
      const { objects } = open();
      const own = sampleObject(randomUUID());
      await objects.keep(own);
      await objects.keep({ ...own, upstream: 'other' });
      expect(await objects.find(own.customer, own.id)).toMatchObject({ upstream: 'other' });
    });

    it('finds an open call whole, until it is settled', async () => {
      const { calls } = open();
      const call = sampleCall(`customer ${randomUUID()}`);
      await calls.keep(call);
      expect(await calls.find(call.customer, call.id)).toEqual({ call, closing: null });
      expect(await calls.find('somebody', call.id)).toBeUndefined();
      await calls.forget(call);
      expect([undefined, 'forgotten']).toContain(await calls.find(call.customer, call.id));
    });

    it('gives a call that is due to one who looks, and to the next only later', async () => {
      const { calls } = open();
      const call = sampleCall(randomUUID());
      await calls.keep(call);
      expect(await claimed(open(), call, call.atMs + LOOK_MS.min - 1)).toBe(0);
      const dueMs = call.atMs + LOOK_MS.min;
      const both = await Promise.all([claimed(open(), call, dueMs), claimed(open(), call, dueMs)]);
      expect(both.toSorted()).toEqual([0, 1]);
      expect(await claimed(open(), call, dueMs + LOOK_MS.min - 1)).toBe(0);
      expect(await claimed(open(), call, dueMs + LOOK_MS.min)).toBe(1);
    });

    it('looks the less often the older a call is, and no less often than the bound', async () => {
      const { calls } = open();
      const call = sampleCall(randomUUID());
      await calls.keep(call);
      const oldMs = call.atMs + 80_000;
      expect(await claimed(open(), call, oldMs)).toBe(1);
      expect(await claimed(open(), call, oldMs + 9_999)).toBe(0);
      expect(await claimed(open(), call, oldMs + 10_000)).toBe(1);
      const olderMs = call.atMs + 86_400_000;
      expect(await claimed(open(), call, olderMs)).toBe(1);
      expect(await claimed(open(), call, olderMs + LOOK_MS.max - 1)).toBe(0);
      expect(await claimed(open(), call, olderMs + LOOK_MS.max)).toBe(1);
    });

    it('takes the first closing of a call, however many see its end', async () => {
      const { calls } = open();
      const call = sampleCall(randomUUID());
      await calls.keep(call);
      const first = sampleClosing(call.id, 5n, call.customer);
      const other = sampleClosing(call.id, 6n, call.customer);
      expect(await calls.conclude(call, first)).toEqual(first);
      expect(await calls.conclude(call, other)).toEqual(first);
      expect(await calls.find(call.customer, call.id)).toEqual({ call, closing: first });
      await calls.forget(call);
      expect(await calls.conclude(call, other)).toBeUndefined();
    });

    it('keeps an open call once: what comes again changes nothing', async () => {
      const { calls } = open();
      const call = sampleCall(randomUUID());
      await calls.keep(call);
      await calls.keep({ ...call, object: 'resp_other' });
      expect(await calls.find(call.customer, call.id)).toMatchObject({ call: { object: call.object } });
    });
  });
}

async function claimed({ calls }: Stored, { id }: OpenCall, nowMs: number): Promise<number> {
  const found = await calls.claim(nowMs, 1_000);
  return found.filter(({ call }) => call.id === id).length;
}

export function sampleObject(customer: string): StoredObject {
  const madeAtMs = Date.now();
  return {
    id: 'resp_1',
    customer,
    key: 'key_1',
    kind: 'response',
    upstream: 'openai',
    model: 'gpt-4o',
    madeAtMs,
    keptUntilMs: madeAtMs + 60_000,
    call: 'req_1',
  };
}

/** It began long ago or is yet to begin, apart from those of other tests: claims see all that is due. */
let lastAtMs = Date.UTC(2020, 0, 1);

export function sampleCall(customer: string): OpenCall {
  const id = `req_${randomUUID()}`;
  lastAtMs += 86_400_000;
  return {
    id,
    customer,
    object: 'resp_1',
    kind: 'response',
    upstream: 'openai',
    family: 'openai',
    modelSent: null,
    path: '/v1/responses',
    query: '',
    atMs: lastAtMs,
    untilMs: lastAtMs + 60_000,
    opening: sampleOpening(id, customer),
    limits: [],
    asked: {
      model: 'gpt-4o',
      stream: false,
      metering: 'usage',
      usageAsked: true,
      user: null,
      session: null,
      serviceTier: null,
      inputTokensMax: 123n,
      inputs: 1n,
      inputElsewhere: false,
      inputTokensGuess: 2n ** 60n,
      outputTokensMax: null,
      answers: 1n,
      bounds: { web_searches: 10n },
      fixed: {},
    },
    heldMax: { inputTokens: 1n, outputTokens: 2n },
  };
}
