import { fieldsOf } from '#billing/costs/event-cost.ts';
import type { Database } from '#billing/db/database.ts';
import { parseExactObject } from '#billing/event-formats/exact-json.ts';
import { CORRECTION_TYPE } from '#billing/events/event-schema.ts';
import { canonicalJson } from '#core/canonical-json.ts';
import { exactOfNumeric, formatExact } from '#core/exact.ts';
import { formatInstant } from '#core/time.ts';
import { millisOf } from './attributes.ts';
import { callEvent, namedEvent, quantitiesOf, useOf } from './metrics.ts';
import { hashOf, type Point } from './points.ts';
import { listPointsOfFamilies, type PointRow, type StandingRow } from './store.ts';
import type { StreamPoint } from './streams.ts';

/** From points that count something else than before to the events that say so. */

/** A point, with the row that keeps it. */
export interface Counting extends StreamPoint {
  /** Before this request. */
  readonly countedBefore: StreamPoint['value'];
  readonly row: Omit<PointRow, 'value' | 'counted' | 'time_nanos'>;
  /** As it came in this request. */
  readonly point: Point | undefined;
}

type Figures = { quantities: Record<string, string> } | { value: string } | null;

/** An event as its points have it. */
export interface Told {
  source: string;
  id: string;
  nanos: bigint;
  /** Whether points of it were known before. */
  known: boolean;
  /** Null of nothing. */
  before: Figures;
  now: Figures;
  /** A new event of these points; undefined where no point of this request is of it. */
  made: Record<string, unknown> | undefined;
}

type Use = Parameters<typeof quantitiesOf>[0][number];

export async function callsChanged(
  tx: Database,
  changed: ReadonlySet<Counting>,
  added: ReadonlySet<Counting>,
): Promise<Told[]> {
  const families = new Set([...changed].flatMap(({ row }) => row.family ?? []));
  if (families.size === 0) return [];
  const changes = new Map([...changed].map((one) => [`${one.row.stream} ${one.timeNanos}`, one]));
  const pointOf = new Map([...added].map(({ row, point }) => [row.stream, point]));
  const byFamily = new Map<string, { row: PointRow; before: Use | undefined; now: Use }[]>();
  for (const row of await listPointsOfFamilies(tx, [...families])) {
    const { usage, former } = row;
    const change = changes.get(`${row.stream} ${row.time_nanos}`);
    const now = { usage, former, counted: exactOfNumeric(row.counted) };
    const before = change && added.has(change) ? undefined : { ...now, counted: change?.countedBefore ?? now.counted };
    const of = byFamily.get(row.family ?? '') ?? [];
    of.push({ row, before, now });
    byFamily.set(row.family ?? '', of);
  }
  const told: Told[] = [];
  for (const all of byFamily.values()) {
    const isLater = {
      before: laterOf(all.flatMap(({ before }) => before ?? [])),
      now: laterOf(all.map(({ now }) => now)),
    };
    for (const uses of Map.groupBy(all, ({ row }) => row.event_id).values()) {
      const { source = null, event_id: id = null, time_nanos = '0' } = uses[0]?.row ?? {};
      if (source === null || id === null) continue;
      const before = uses.flatMap((use) => use.before ?? []);
      const quantities = quantitiesOf(
        uses.map(({ now }) => now),
        isLater.now,
      );
      const point = uses.map(({ row }) => pointOf.get(row.stream)).find((each) => each !== undefined);
      const nanos = BigInt(time_nanos);
      const figures = { before: figuresOf(quantitiesOf(before, isLater.before)), now: figuresOf(quantities) };
      const made = point && callEvent(point, id, nanos, quantities);
      told.push({ source, id, nanos, known: before.length > 0, ...figures, made });
    }
  }
  return told;
}

/** Which of the former names give way. */
function laterOf(uses: readonly Use[]): { tokens: boolean; calls: boolean } {
  const later = uses.filter(({ former, counted }) => !former && counted.num > 0n);
  return { tokens: later.some(({ usage }) => usage !== 'calls'), calls: later.some(({ usage }) => usage === 'calls') };
}

function figuresOf(quantities: Record<string, string>): Figures {
  return Object.keys(quantities).length > 0 ? { quantities } : null;
}

export function namedChanged(changed: ReadonlySet<Counting>, added: ReadonlySet<Counting>): Told[] {
  const pointOf = new Map([...added].map(({ row, point }) => [row.stream, point]));
  return [...changed].flatMap((one): Told[] => {
    const { source, event_id: id, family, stream } = one.row;
    if (source === null || id === null || family !== null) return [];
    const point = pointOf.get(stream);
    const use = point && useOf(point);
    const nanos = one.timeNanos;
    const [before, now] = [one.countedBefore, one.counted].map((counted) =>
      counted.num > 0n ? { value: formatExact(counted) } : null,
    );
    const customer = use?.kind === 'named' ? use.customer : undefined;
    const made = point && customer !== undefined ? namedEvent(point, { id, customer }, nanos, now?.value) : undefined;
    return [{ source, id, nanos, known: !added.has(one), before: before ?? null, now: now ?? null, made }];
  });
}

const SOURCE = '/weir/otlp';

/** The event, the correction of the one that stands, or undefined where there is nothing to say. */
export function eventOf({ before, now, made, known, nanos }: Told, stands: StandingRow | undefined) {
  // An id that is taken without any point that is known: they were forgotten, and it is a conflict.
  if (!stands || !known) return now ? made : undefined;
  if (isSame(before, now)) return undefined;
  const live = stands.body === null ? undefined : parseExactObject(stands.body);
  const base = live ?? made;
  if (!base) return undefined;
  const data = fieldsOf(live?.data);
  const figures = live && ('quantities' in data ? { quantities: data.quantities } : { value: data.value });
  // What a person said of the figures since is later than any point.
  const isOurs = isSame(before, figures ?? null);
  const figured = now && { ...('quantities' in now ? uncosted(base.data) : fieldsOf(base.data)), ...now };
  // It stays with the customer that it was found to be of, by its key or by a person.
  const whose = stands.customer === '' ? {} : { subject: stands.customer };
  const named = figured && 'customer' in figured && stands.customer !== '' ? { customer: stands.customer } : {};
  const event = figured && { ...base, ...whose, data: { ...figured, ...named } };
  const { source, id, revision } = stands;
  return {
    specversion: '1.0',
    // As recosting has it: behind all that stands at its time.
    id: `~${revision.toString().padStart(10, '0')}.${hashOf([source, id, event])}`,
    source: SOURCE,
    type: CORRECTION_TYPE,
    time: formatInstant((isOurs ? stands.decided_at : null) ?? millisOf(nanos)),
    data: { source, id, reason: 'More points of its collection came', event },
  };
}

/** Its cost was that of what it used before. */
function uncosted(data: unknown): Record<string, unknown> {
  const { price_book: _, unpriced: __, cost_before: ___, ...rest } = fieldsOf(data);
  return { ...rest, cost: null };
}

function isSame(a: unknown, b: unknown): boolean {
  return canonicalJson(a) === canonicalJson(b);
}
