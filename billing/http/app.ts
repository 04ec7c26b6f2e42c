import { OpenAPIHono, z } from '@hono/zod-openapi';
import type { Context } from 'hono';
import { type Database, sqlStateOf } from '#billing/db/database.ts';
import { Fault, faultOf } from '#core/fault.ts';
import { newId } from '#core/id.ts';
import type { Log } from '#core/log.ts';
import type { Clock } from '#core/time.ts';
import { once, parseIdempotencyKey, requestHash } from './idempotency.ts';
import { Problem, problemOf } from './problem.ts';
import { BODY_BYTES_MAX, Parser, queryOf, readBody } from './request.ts';
import type { Caller, Role } from './role.ts';
import type { Api, Call, Encoded, Route } from './route.ts';
import { staticFiles } from './static.ts';
import { pingDatabase } from './store.ts';

export interface AppOptions {
  db: Database;
  clock: Clock;
  log: Log;
  /** Whose bearer token this is. Throws `unauthenticated`. */
  authenticate: (bearer: string) => Promise<Caller>;
  /** Registers every noun's routes. */
  routes: (api: Api) => void;
  version: string;
}

/** What a test or the documentation wants to know of a route. */
export interface RouteFacts {
  method: string;
  path: string;
  roles: readonly Role[];
}

export interface App {
  /** The web standard way in: serveBilling and tests call this. */
  fetch(request: Request): Promise<Response>;
  routes: readonly RouteFacts[];
  openapi(): object;
}

interface Env {
  Variables: {
    requestId: string;
    route: string;
    caller: Caller | undefined;
    /** Set by a route whose callers may speak another format. */
    encode: ((fault: Fault) => Encoded | undefined) | undefined;
  };
}

export function createApp(options: AppOptions): App {
  const { clock, log } = options;
  const hono = new OpenAPIHono<Env>();
  const routes: RouteFacts[] = [];

  hono.use('*', async (c, next) => {
    const startMs = clock();
    c.set('requestId', newId('req', startMs));
    await next();
    c.header('x-request-id', c.get('requestId'));
    c.header('x-content-type-options', 'nosniff');
    if (!c.res.headers.has('cache-control')) c.header('cache-control', 'no-store');
    log.debug(
      {
        request: c.get('requestId'),
        method: c.req.method,
        // The pattern, not the path: a path can hold what a customer chose to put there.
        route: c.get('route') ?? null,
        status: c.res.status,
        token: c.get('caller')?.token ?? null,
        duration_ms: clock() - startMs,
      },
      'billing request',
    );
  });

  hono.onError((thrown, c) => answerFault(c, refusedText(thrown) ?? thrown, log));
  hono.notFound((c) => answerFault(c, missing(c, routes), log));

  hono.get('/healthz', (c) => c.json({ status: 'ok' }));
  hono.get('/readyz', async (c) => {
    await pingDatabase(options.db).catch((cause: unknown) => {
      throw new Fault('database_unavailable', { cause });
    });
    return c.json({ status: 'ok' });
  });

  const api: Api = {
    route: (route) => {
      routes.push({ method: route.method, path: route.path, roles: route.roles });
      register(hono, route, options);
    },
  };
  options.routes(api);

  hono.openAPIRegistry.registerComponent('securitySchemes', 'token', { type: 'http', scheme: 'bearer' });
  const openapi = (): object =>
    hono.getOpenAPI31Document({
      openapi: '3.1.0',
      info: { title: 'Weir billing API', version: options.version, description: DESCRIPTION },
      security: [{ token: [] }],
    });
  hono.get('/openapi.json', (c) => c.json(openapi()));
  staticFiles(hono);

  return { fetch: async (request) => hono.fetch(request), routes, openapi };
}

const DESCRIPTION = [
  'Every call carries `Authorization: Bearer <token>`; `x-weir-roles` says whose token may make it.',
  'Errors are `application/problem+json` with a stable `code`.',
  'A POST may carry an `Idempotency-Key`: its repeat is answered as the first time for 30 days, and is refused when the',
  'body differs. Amounts and quantities are decimal text, instants are RFC 3339.',
].join('\n');

function register<P extends z.ZodType, Q extends z.ZodType, B extends z.ZodType, A extends z.ZodType>(
  hono: OpenAPIHono<Env>,
  route: Route<P, Q, B, A>,
  options: AppOptions,
): void {
  const status = route.status ?? 200;
  hono.openAPIRegistry.registerPath({
    method: route.method,
    path: route.path,
    tags: [route.noun],
    summary: route.summary,
    ...(route.description === undefined ? {} : { description: route.description }),
    'x-weir-roles': route.roles,
    request: {
      ...objectPart('params', route.params),
      ...objectPart('query', route.query),
      ...(route.method === 'post' ? { headers: IdempotencyHeader } : {}),
      ...(route.body
        ? { body: { required: true, content: contentOf(route.formats?.schema ?? route.body, route.formats?.types) } }
        : {}),
    },
    responses: {
      [status]: { description: route.summary, content: { 'application/json': { schema: route.answer } } },
      default: { description: 'A problem', content: { 'application/problem+json': { schema: Problem } } },
    },
  });

  hono.on([route.method.toUpperCase()], [route.path.replaceAll(/\{(\w+)\}/g, ':$1')], async (c) => {
    c.set('route', route.path);
    if (route.encode) c.set('encode', (fault) => route.encode?.(fault, c.req.raw.headers));
    const caller = await options.authenticate(bearerOf(c.req.header('authorization')));
    c.set('caller', caller);
    if (!route.roles.includes(caller.role)) {
      throw new Fault('forbidden', { detail: `This wants one of the roles ${route.roles.join(', ')}.` });
    }

    const takesBody = route.method !== 'get' && route.method !== 'delete';
    const json = takesBody
      ? await readBody(c.req.raw, route.bodyBytesMax ?? BODY_BYTES_MAX, route.formats?.read)
      : undefined;
    const parser = new Parser();
    const params = parser.parse(route.params, c.req.param(), 'parameter');
    const query = parser.parse<z.ZodType>(route.query ?? NoParameters, queryOf(c.req.url), 'parameter');
    const body = takesBody ? parser.parse<z.ZodType>(route.body ?? NoFields, json, 'body') : undefined;
    parser.throwIfWrong();

    const nowMs = options.clock();
    let nudges: (() => void)[] = [];
    const run = async (db: Database): Promise<z.output<A>> => {
      nudges = [];
      const call: Call<z.output<P>, z.output<Q>, z.output<B>> = {
        db,
        // Each is there when its schema is: the parser has thrown otherwise.
        params: params as z.output<P>,
        query: (route.query ? query : undefined) as z.output<Q>,
        body: (route.body ? body : undefined) as z.output<B>,
        caller,
        nowMs,
        requestId: c.get('requestId'),
        signal: c.req.raw.signal,
        afterCommit: (work) => nudges.push(work),
      };
      return encodeAnswer(route, await route.run(call));
    };

    if (route.method === 'get') return c.json(await run(options.db), status);

    const key = route.method === 'post' ? c.req.header('idempotency-key') : undefined;
    const done = await options.db.transaction(async (tx) => {
      if (key === undefined) return { status, answer: await run(tx), replayed: false };
      const request = {
        tokenId: caller.token,
        key: parseIdempotencyKey(key),
        requestHash: requestHash(c.req.method, c.req.path, json),
        nowMs,
      };
      return once(tx, request, async () => {
        const answer = await run(tx);
        return { status, answer, stored: route.storedAnswer ? route.storedAnswer(answer) : answer };
      });
    });
    if (done.replayed) c.header('idempotent-replayed', 'true');
    else for (const nudge of nudges) nudge();
    const refusal = route.refusal?.(done.answer as z.output<A>, body as z.output<B>);
    if (refusal) throw refusal;
    const encoded = route.encode?.(done.answer as z.output<A>, c.req.raw.headers);
    if (encoded) return c.body(encoded.bytes, done.status as 200, { 'content-type': encoded.type });
    return c.json(done.answer as object, done.status as 200);
  });
}

/** In the documentation, formats that are no JSON are text. */
function contentOf(
  schema: z.ZodType,
  types: readonly string[] = ['application/json'],
): Record<string, { schema: z.ZodType }> {
  const schemaOf = (type: string) => (type.endsWith('json') && !type.includes('ndjson') ? schema : z.string());
  return Object.fromEntries(types.map((type) => [type, { schema: schemaOf(type) }]));
}

const NoParameters = z.strictObject({});
const NoFields = z.strictObject({});
const IdempotencyHeader = z.object({
  'idempotency-key': z.string().min(1).max(255).optional().openapi({ description: 'Makes a repeat safe.' }),
});

function objectPart(name: 'params' | 'query', schema: z.ZodType | undefined): object {
  if (!schema) return {};
  if (!(schema instanceof z.ZodObject)) throw new TypeError(`${name} wants a z.strictObject`);
  return { [name]: schema };
}

/** Only what the schema names leaves, so that a column that was never meant to be seen cannot be. */
function encodeAnswer<A extends z.ZodType>(route: { path: string; answer: A }, answer: unknown): z.output<A> {
  const result = route.answer.safeParse(answer);
  if (result.success) return result.data;
  const where = result.error.issues.map((issue) => `${issue.path.join('.')}: ${issue.message}`).join('; ');
  throw new Fault('internal', { story: `${route.path} answers what its schema does not have: ${where}` });
}

/** JSON and addresses can hold U+0000, and no text of Postgres can. */
function refusedText(thrown: unknown): Fault | undefined {
  if (sqlStateOf(thrown) !== '22021') return undefined;
  return new Fault('invalid_request', { detail: 'A text holds U+0000, which cannot be stored.', cause: thrown });
}

function bearerOf(header: string | undefined): string {
  const match = /^Bearer +(\S+)$/i.exec(header ?? '');
  if (!match?.[1]) throw new Fault('unauthenticated', { detail: 'Send Authorization: Bearer <token>.' });
  return match[1];
}

function missing(c: Context<Env>, routes: readonly RouteFacts[]): Fault {
  const path = c.req.path;
  const allowed = routes.filter((route) => patternOf(route.path).test(path)).map((route) => route.method.toUpperCase());
  if (allowed.length === 0) return new Fault('route_not_found');
  c.header('allow', [...new Set(allowed)].join(', '));
  return new Fault('method_not_allowed');
}

function patternOf(path: string): RegExp {
  return new RegExp(`^${path.replaceAll('.', '\\.').replaceAll(/\{\w+\}/g, '[^/]+')}$`);
}

function answerFault(c: Context<Env>, thrown: unknown, log: Log): Response {
  const fault = faultOf(thrown);
  const requestId = c.get('requestId');
  if (fault.status >= 500) {
    log.error(
      {
        request: requestId,
        route: c.get('route') ?? null,
        code: fault.code,
        story: fault.story ?? null,
        err: fault.cause ?? fault,
      },
      'billing request failed',
    );
  }
  if (fault.status === 401) c.header('www-authenticate', 'Bearer');
  const encoded = c.get('encode')?.(fault);
  if (encoded) return c.body(encoded.bytes, fault.status as 500, { 'content-type': encoded.type });
  return c.body(JSON.stringify(problemOf(fault, requestId)), fault.status as 500, {
    'content-type': 'application/problem+json',
  });
}
