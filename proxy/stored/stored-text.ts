import { encodeReservation, parseReservation } from '../limits/reservation-text.ts';
import type { Closing } from '../sink/sink.ts';
import type { OpenCall, StoredObject } from './stored.ts';

/** Objects, calls and closings as JSON. Whole numbers of any size stand as `{"#":"123"}`. */

export function encodeObject(object: StoredObject): string {
  return JSON.stringify(object, replace);
}

export function parseObject(text: string): StoredObject {
  return JSON.parse(text, revive);
}

export function encodeCall(call: OpenCall): string {
  const { opening } = call;
  return JSON.stringify(
    { ...call, opening: { ...opening, reservation: encodeReservation(opening.reservation) } },
    replace,
  );
}

export function parseCall(text: string): OpenCall {
  const call = JSON.parse(text, revive);
  return { ...call, opening: { ...call.opening, reservation: parseReservation(call.opening.reservation) } };
}

export function encodeClosing(closing: Closing): string {
  return JSON.stringify({ ...closing, reservation: encodeReservation(closing.reservation) }, replace);
}

export function parseClosing(text: string): Closing {
  const closing = JSON.parse(text, revive);
  return { ...closing, reservation: parseReservation(closing.reservation) };
}

const WHOLE = '#';

function replace(_key: string, value: unknown): unknown {
  return typeof value === 'bigint' ? { [WHOLE]: value.toString() } : value;
}

function revive(_key: string, value: unknown): unknown {
  if (typeof value !== 'object' || value === null || !(WHOLE in value)) return value;
  return BigInt(String(value[WHOLE]));
}
