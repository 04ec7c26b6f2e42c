import { z } from '@hono/zod-openapi';
import { parseExact } from '#core/exact.ts';
import { isCurrency } from '#core/money.ts';
import { isTimeZone, parseInstant } from '#core/time.ts';

/** The pieces that schemas of several nouns share. Bodies and queries are strict objects: an unknown field is an error. */

/** An id that a caller may choose: safe in a path, in YAML and in a Redis key. */
export const Id = z
  .string()
  .regex(/^[A-Za-z0-9][A-Za-z0-9_.:-]{0,99}$/, 'Wants 1 to 100 letters, digits, or any of _ . : - after the first.')
  .openapi({ example: 'acme' });

/** The path parameter of a route of one thing. */
export const idParams = z.strictObject({ id: Id });

/** An instant that we send. */
export const Instant = z.string().openapi({ format: 'date-time', example: '2026-11-20T12:00:00.000Z' });

/** Which of an event's rows it is: 0 as it was first taken; each correction adds one that takes back and one that counts. */
export const EventRevision = z.int().openapi({ description: 'Rows of one event, in order; 0 is the first.' });

/** An instant that we take, as epoch ms: RFC 3339 with its offset. */
export const InstantIn = z
  .string()
  .refine((text) => parseInstant(text) !== undefined, 'Wants an RFC 3339 instant with its offset.')
  .transform((text) => parseInstant(text) ?? 0)
  .openapi({ type: 'string', format: 'date-time', example: '2026-11-20T12:00:00Z' });

export const Currency = z
  .string()
  .refine(isCurrency, 'Wants three capital letters (ISO 4217).')
  .openapi({ example: 'USD' });

export const TimeZone = z
  .string()
  .max(64)
  .refine(isTimeZone, 'Wants an IANA time zone.')
  .openapi({ example: 'Europe/Paris' });

/** A number that must stay exact: plain decimal notation in a string, never a JSON number. */
export const Decimal = z
  .string()
  .refine((text) => parseExact(text) !== undefined, 'Wants plain decimal notation, in a string.')
  .openapi({ example: '12.345678' });

export const MoneyJson = z.object({ amount: Decimal, currency: Currency }).openapi('Money');

export const Name = z.string().trim().min(1).max(200);
