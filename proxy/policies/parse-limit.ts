import {
  LIMIT_KINDS,
  LIMIT_PERIODS,
  type LimitDimension,
  type LimitPolicy,
  type LimitPrice,
} from '#core/key-policy.ts';
import { UNITS } from '#core/quantity.ts';
import { isCount, isListOf, isRecord, isText } from './json.ts';

/** A limit from outside, field by field. A value that is not known here makes the whole policy one of a newer form. */

const KINDS: readonly unknown[] = LIMIT_KINDS;
const PERIODS: readonly unknown[] = [...LIMIT_PERIODS, null];
const ALL_UNITS: readonly unknown[] = UNITS;
const MODES: readonly unknown[] = ['soft', 'shadow', undefined] satisfies LimitPolicy['mode'][];
const STORE_DOWN: readonly unknown[] = ['closed', 'open', 'local', undefined] satisfies LimitPolicy['onStoreDown'][];

export function isLimitPolicy(value: unknown): value is LimitPolicy {
  return (
    isRecord(value) &&
    isText(value.id) &&
    (value.scope === 'customer' || value.scope === 'key') &&
    KINDS.includes(value.kind) &&
    isCount(value.amount) &&
    (value.currency === null || isText(value.currency)) &&
    PERIODS.includes(value.per) &&
    (value.burst === null || isCount(value.burst)) &&
    isText(value.timezone) &&
    hasKnownParts(value)
  );
}

function hasKnownParts(value: Record<string, unknown>): boolean {
  return (
    (value.kind === 'quantity' ? ALL_UNITS.includes(value.unit) : value.unit === undefined) &&
    MODES.includes(value.mode) &&
    maybe(value.warnAt, (list) => isListOf(list, isPercentage)) &&
    maybe(value.models, (list) => isListOf(list, isText)) &&
    maybe(value.labels, (labels) => isRecord(labels) && Object.values(labels).every(isText)) &&
    maybe(value.by, isDimension) &&
    maybe(value.override, isOverride) &&
    (value.basis === undefined || (value.basis === 'price' && isListOf(value.prices, isPrice))) &&
    STORE_DOWN.includes(value.onStoreDown) &&
    (value.onStoreDown === 'local' ? isCount(value.localAmount) : value.localAmount === undefined)
  );
}

function maybe(value: unknown, isRight: (value: unknown) => boolean): boolean {
  return value === undefined || isRight(value);
}

function isPercentage(value: unknown): value is number {
  return Number.isSafeInteger(value) && (value as number) > 0 && (value as number) < 1_000;
}

function isDimension(value: unknown): value is LimitDimension {
  return isText(value) && /^(user|session|model|label:.+)$/.test(value);
}

function isOverride(value: unknown): boolean {
  return isRecord(value) && isCount(value.amount) && Number.isSafeInteger(value.untilMs);
}

function isPrice(value: unknown): value is LimitPrice {
  return (
    isRecord(value) &&
    ALL_UNITS.includes(value.unit) &&
    isText(value.model) &&
    isText(value.amount) &&
    isText(value.per) &&
    /^[1-9]\d{0,17}$/.test(value.per)
  );
}
