import type { z } from '@hono/zod-openapi';
import type { Database } from '#billing/db/database.ts';
import type { Fault } from '#core/fault.ts';
import type { BodyReader } from './request.ts';
import type { Caller, Role } from './role.ts';

/**
 * A route is a value. A noun registers its routes in one function that `billing/routes.ts` calls:
 *
 *   export function customerRoutes(api: Api): void {
 *     api.route({
 *       method: 'get',
 *       path: '/v1/customers/{id}',
 *       noun: 'customers',
 *       summary: 'Get a customer',
 *       roles: READERS,
 *       params: idParams,
 *       answer: Customer,
 *       run: async ({ db, params }) => toJson(await getCustomer(db, params.id)),
 *     });
 *   }
 *
 * What the API does around `run`: request id, authentication, roles, bounds, parsing (all mistakes at once), one
 * transaction for everything but GET, Idempotency-Key on every POST, problem+json for every Fault that is thrown,
 * the answer reduced to its schema, and the OpenAPI document. `run` knows nothing of HTTP.
 */
export interface Api {
  route<
    P extends z.ZodType = z.ZodUndefined,
    Q extends z.ZodType = z.ZodUndefined,
    B extends z.ZodType = z.ZodUndefined,
    A extends z.ZodType = z.ZodUndefined,
  >(route: Route<P, Q, B, A>): void;
}

export type Method = 'get' | 'post' | 'put' | 'patch' | 'delete';

export interface Route<P extends z.ZodType, Q extends z.ZodType, B extends z.ZodType, A extends z.ZodType> {
  method: Method;
  /** With parameters in braces: `/v1/customers/{id}`. */
  path: string;
  /** Groups routes in the documentation. */
  noun: string;
  summary: string;
  description?: string;
  roles: readonly Role[];
  /** Each a z.strictObject: unknown fields and parameters are errors. */
  params?: P;
  query?: Q;
  body?: B;
  /** Formats of the body other than plain JSON: what makes a value of `body` of them, and what their JSON looks like. */
  formats?: { types: readonly string[]; read: BodyReader; schema: z.ZodType };
  /** Other formats of the answer and of a problem, where the caller speaks one; undefined for JSON. */
  encode?: (answer: z.output<A> | Fault, headers: Headers) => Encoded | undefined;
  /** What is not in this schema never leaves. */
  answer: A;
  /** 200 unless given. */
  status?: 200 | 201 | 202;
  /** BODY_BYTES_MAX unless given. */
  bodyBytesMax?: number;
  /** What is stored for a repeat with the same Idempotency-Key: for answers that hold a secret, which is shown once. */
  storedAnswer?: (answer: z.output<A>) => z.output<A>;
  run: (call: Call<z.output<P>, z.output<Q>, z.output<B>>) => Promise<z.input<A>>;
  /** A refusal that is recorded: the Fault that the client sees instead of the answer, although the transaction holds. */
  refusal?: (answer: z.output<A>, body: z.output<B>) => Fault | undefined;
}

export interface Encoded {
  type: string;
  bytes: Uint8Array<ArrayBuffer>;
}

export interface Call<P, Q, B> {
  /** The transaction of this request; for GET the database itself. */
  db: Database;
  params: P;
  query: Q;
  body: B;
  caller: Caller;
  nowMs: number;
  requestId: string;
  /** Aborted when the client hangs up or the server closes: for answers that wait. */
  signal: AbortSignal;
  /** Runs once the transaction is committed, before the answer is sent. For nudges only: what must happen is in the transaction. */
  afterCommit(work: () => void): void;
}
