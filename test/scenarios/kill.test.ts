import { afterEach, describe, expect, it } from 'vitest';
import type { UsageEvent } from '#core/usage-event.ts';
import { callOnce } from './caller.ts';
import { CUSTOMER, type Deployment, deploy } from './deployment.ts';
import { type NumberedUpstream, startNumberedUpstream } from './numbered-upstream.ts';
import { until } from './until.ts';

/** Each role is killed this often while calls run. The promise is shown with 20 (`WEIR_KILLS=20`); every run does a few. */
const KILLS = Number.parseInt(process.env.WEIR_KILLS ?? '3', 10);
const CALLERS = 8;
/** Calls between two kills: enough that a kill hits calls at every step. */
const CALLS_PER_KILL = 60;

let upstream: NumberedUpstream | undefined;
let deployment: Deployment | undefined;

afterEach(async () => {
  await deployment?.stop();
  await upstream?.stop();
});

describe.each(['embedded', 'shared'] as const)('%s, killed at any moment', (kind) => {
  it(`has exactly one event for every call that the upstream served, and the invoice is their sum (${KILLS} kills a role)`, {
    timeout: 60_000 + KILLS * 30_000,
  }, async () => {
    upstream = await startNumberedUpstream({ latencyMs: 2 });
    deployment = await deploy({ kind, upstreamUrl: upstream.url });
    await callWhileKilling(deployment);

    const served = upstream.served();
    const events = await allEvents(deployment, new Set(served.map((call) => call.number)));
    expect(new Set(served.map((call) => call.number)).size).toBe(served.length);
    expect(
      missingOrTwice(
        served.map((call) => call.number),
        events,
      ),
    ).toEqual({ missing: [], twice: [] });

    // Final figures are the upstream's own. What the gateway did not live to write down says that it is an estimate:
    // at most what was in flight when it was killed.
    const byNumber = new Map(events.map((event) => [numberOf(event), event]));
    for (const call of served) {
      const { data } = byNumber.get(call.number) as UsageEvent;
      if (data.usage_status === 'estimated') continue;
      expect(data.usage_status).toBe('final');
      expect(data.quantities).toEqual({
        calls: '1',
        input_tokens: `${call.promptTokens}`,
        output_tokens: `${call.completionTokens}`,
      });
    }
    const estimated = events.filter((event) => event.data.usage_status === 'estimated');
    expect(estimated.length).toBeLessThanOrEqual(CALLERS * KILLS);
    expect(estimated.every((event) => event.data.outcome === 'unknown')).toBe(true);
    // An event without a served call is one whose gateway died between the journal and the upstream.
    const servedNumbers = new Set(served.map((call) => call.number));
    for (const event of events) {
      if (!servedNumbers.has(numberOf(event))) expect(event.data.outcome).toBe('unknown');
    }
    expect(await invoiceTotal(deployment)).toBe(sumOf(events));
  });
});

/** Calls without a pause, kills both roles in turn and brings them back. */
async function callWhileKilling(weir: Deployment): Promise<void> {
  let answered = 0;
  let next = 0;
  let done = false;
  const callers = Array.from({ length: CALLERS }, async () => {
    while (!done) {
      const number = next++;
      const { end } = await callOnce({
        gatewayUrl: weir.gatewayUrls[0] as string,
        secret: weir.secret,
        number,
        stream: number % 2 === 0,
      });
      if (end === 'answered') answered++;
    }
  });
  const moreCalls = (count: number): Promise<void> => {
    const target = answered + count;
    return until(() => answered >= target, `${count} more calls answered`);
  };
  try {
    for (let kill = 0; kill < KILLS; kill++) {
      await moreCalls(CALLS_PER_KILL + (kill % 5));
      await weir.killGateway(0);
      await weir.startGateway(0);
      await moreCalls(CALLS_PER_KILL + (kill % 7));
      await weir.killBilling();
      await moreCalls(CALLS_PER_KILL);
      await weir.startBilling();
    }
    await moreCalls(CALLS_PER_KILL);
  } catch (error) {
    throw new Error(`${String(error)}\n${weir.output()}`, { cause: error });
  } finally {
    done = true;
    await Promise.all(callers);
  }
}

/**
 * Waits until billing has an event for each of these calls, and no more come. Their number says nothing: a gateway that
 * died before it reached the upstream leaves an event without a served call.
 */
async function allEvents(weir: Deployment, served: ReadonlySet<number>): Promise<UsageEvent[]> {
  let events: UsageEvent[] = [];
  let before = -1;
  const absent = (): number[] => {
    const there = new Set(events.map(numberOf));
    return [...served].filter((number) => !there.has(number));
  };
  await until(
    async () => {
      before = events.length;
      events = await weir.events();
      return events.length === before && absent().length === 0;
    },
    'all events to arrive in billing',
    () => `${events.length} events, ${served.size} calls served, none for ${absent()}`,
  );
  return events;
}

function numberOf(event: UsageEvent): number {
  return Number.parseInt(event.data.labels.number ?? '', 10);
}

function missingOrTwice(served: number[], events: UsageEvent[]): { missing: number[]; twice: number[] } {
  const counts = new Map<number, number>();
  for (const event of events) counts.set(numberOf(event), (counts.get(numberOf(event)) ?? 0) + 1);
  return {
    missing: served.filter((number) => !counts.has(number)),
    twice: [...counts].filter(([, count]) => count > 1).map(([number]) => number),
  };
}

/** The plan's prices over the events' own quantities, in cents per line, rounded as an invoice does: half up. */
function sumOf(events: UsageEvent[]): string {
  const total = (unit: string): bigint =>
    events.reduce((sum, event) => sum + BigInt(event.data.quantities[unit] ?? '0'), 0n);
  const halfUpCents = (nanos: bigint): bigint => (nanos + 5_000_000n) / 10_000_000n;
  const cents =
    halfUpCents(total('calls') * 10_000_000n) +
    halfUpCents(total('input_tokens') * 3_000n) +
    halfUpCents(total('output_tokens') * 12_000n);
  return `${cents / 100n}.${(cents % 100n).toString().padStart(2, '0')}`;
}

async function invoiceTotal(weir: Deployment): Promise<string> {
  const preview = await weir.get<{ total: { amount: string } }>(`/v1/customers/${CUSTOMER}/usage/current`);
  return preview.total.amount;
}
