/**
 * The closed catalogue of what can go wrong. A Fault has a public sentence, which may go to anyone, and an internal
 * story, which goes to the log only. Every code has a section in docs/errors.md; a test keeps the two equal.
 *
 * A refusal by a limit is not a Fault but a normal answer; its codes are here because clients see them.
 */
export const FAULTS = {
  // What the caller of the gateway did
  invalid_json: { status: 400, text: 'The request body is not valid JSON.' },
  invalid_request: { status: 400, text: 'The request is not one that this endpoint takes.' },
  header_mismatch: { status: 400, text: 'The headers of the request do not say what its body says.' },
  missing_key: { status: 401, text: 'No API key was given.' },
  invalid_key: { status: 401, text: 'The API key is not known.' },
  expired_key: { status: 401, text: 'The API key has expired.' },
  revoked_key: { status: 401, text: 'The API key has been revoked.' },
  customer_paused: { status: 403, text: 'The operator has paused this customer or key.' },
  model_not_allowed: { status: 403, text: 'This API key may not use that model.' },
  not_metered: { status: 403, text: 'What that would lead to could not be metered, so it is not served.' },
  model_not_found: { status: 404, text: 'No upstream serves that model.' },
  route_not_found: { status: 404, text: 'There is nothing at this path.' },
  method_not_allowed: { status: 405, text: 'This path does not take that method.' },
  body_too_large: { status: 413, text: 'The request body is larger than the gateway takes.' },
  upgrade_required: { status: 426, text: 'This path is asked for by WebSocket.' },
  headers_too_large: { status: 431, text: 'The request headers are larger than the gateway takes.' },
  body_timeout: { status: 408, text: 'The request body did not arrive in time.' },
  // Refusals by limits
  rate_limited: { status: 429, text: 'A rate limit of this key or customer is reached.' },
  concurrency_limited: { status: 429, text: 'Too many calls of this key or customer are in flight.' },
  budget_exhausted: { status: 429, text: 'A budget of this key or customer is used up.' },
  unpriced_model: { status: 403, text: 'This model has no known price, and a budget applies to this key.' },
  // What happened behind the gateway
  model_halted: { status: 503, text: 'The operator has halted that model, or every upstream that serves it.' },
  upstream_unreachable: { status: 502, text: 'The upstream could not be reached.' },
  upstream_broken: { status: 502, text: 'The upstream broke off its answer.' },
  upstream_invalid: { status: 502, text: 'The upstream answered something that is no HTTP answer.' },
  upstream_unauthorized: { status: 502, text: 'The upstream refused the credential that Weir has for it.' },
  upstream_timeout: { status: 504, text: 'The upstream did not answer in time.' },
  limits_unavailable: { status: 503, text: 'The limits cannot be checked at the moment.' },
  journal_unavailable: { status: 503, text: 'Usage cannot be recorded at the moment.' },
  owners_unavailable: { status: 503, text: 'Whose what a provider keeps is cannot be checked at the moment.' },
  shutting_down: { status: 503, text: 'The gateway is shutting down.' },
  sockets_unavailable: { status: 501, text: 'This gateway runs where it carries no WebSockets.' },
  overloaded: { status: 503, text: 'The gateway has more calls in flight than it takes.' },
  internal: { status: 500, text: 'Something failed inside Weir.' },
  // Billing API
  unauthenticated: { status: 401, text: 'No valid token was given.' },
  forbidden: { status: 403, text: 'This token may not do that.' },
  not_found: { status: 404, text: 'There is no such thing.' },
  validation_failed: { status: 422, text: 'The request has fields that are missing or wrong.' },
  already_exists: { status: 409, text: 'It exists already, with other contents.' },
  idempotency_conflict: { status: 409, text: 'That idempotency key was used with another body.' },
  template_matches_nothing: { status: 422, text: 'The template could read none of the rows.' },
  event_conflict: { status: 409, text: 'An event with that source and id exists with another body.' },
  managed_by_config: { status: 409, text: 'This is managed in the configuration file and is read-only here.' },
  state_conflict: { status: 409, text: 'It is not in a state that allows this.' },
  database_unavailable: { status: 503, text: 'The database cannot be reached at the moment.' },
  // Start
  config_invalid: { status: 500, text: 'The configuration has mistakes.' },
  environment_invalid: { status: 500, text: 'A variable of the environment is wrong.' },
  address_unavailable: { status: 500, text: 'Weir cannot listen at its address.' },
  data_dir_unusable: { status: 500, text: 'The data directory cannot be used.' },
  database_refused: { status: 500, text: 'The database is there and refuses Weir.' },
  data_dir_locked: { status: 500, text: 'Another process uses this data directory.' },
  journal_corrupt: { status: 500, text: 'The journal cannot be read.' },
  schema_mismatch: { status: 500, text: 'The database schema is not one that this version can use.' },
} as const satisfies Record<string, { status: number; text: string }>;

export type FaultCode = keyof typeof FAULTS;

/** One of the things that are wrong with a request: a place in the body (`#/limits/0/amount`), a parameter or a header. */
export interface FaultIssue {
  readonly pointer?: string;
  readonly parameter?: string;
  readonly header?: string;
  readonly detail: string;
}

export class Fault extends Error {
  readonly code: FaultCode;
  /** Extra public detail: names of fields, models, bounds. Never a secret, a prompt or an upstream's address. */
  readonly detail: string | undefined;
  /** What the log should say, beside the cause. */
  readonly story: string | undefined;
  /** All that is wrong at once, for validation_failed. Public. */
  readonly issues: readonly FaultIssue[];

  constructor(
    code: FaultCode,
    options: {
      detail?: string | undefined;
      story?: string | undefined;
      issues?: readonly FaultIssue[];
      cause?: unknown;
    } = {},
  ) {
    super(options.detail ? `${FAULTS[code].text} ${options.detail}` : FAULTS[code].text, { cause: options.cause });
    this.name = 'Fault';
    this.code = code;
    this.detail = options.detail;
    this.story = options.story;
    this.issues = options.issues ?? [];
  }

  get status(): number {
    return FAULTS[this.code].status;
  }
}

/** Why something failed, as one line: what was said, and what that came from. A `fetch failed` alone helps nobody. */
export function reasonOf(thrown: unknown): string {
  if (!(thrown instanceof Error)) return String(thrown);
  // Of several addresses that were tried, one stands for all; the sum of them has no words of its own.
  const cause: unknown = thrown.cause ?? (thrown instanceof AggregateError ? thrown.errors[0] : undefined);
  return [thrown.message, cause === undefined ? '' : reasonOf(cause)].filter((part) => part !== '').join(': ');
}

/** Any thrown thing as a Fault; what is no Fault already becomes `internal` with the original as cause. */
export function faultOf(thrown: unknown): Fault {
  return thrown instanceof Fault ? thrown : new Fault('internal', { cause: thrown });
}
