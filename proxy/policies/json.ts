/** What JSON from outside may be. */

export function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

export function isListOf<T>(value: unknown, isOne: (one: unknown) => one is T): value is T[] {
  return Array.isArray(value) && value.every(isOne);
}

export function isText(value: unknown): value is string {
  return typeof value === 'string';
}

/** A whole number that a counter can hold, as text. */
export function isCount(value: unknown): value is string {
  return isText(value) && /^\d{1,16}$/.test(value);
}
