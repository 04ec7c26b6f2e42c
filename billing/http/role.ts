/**
 * Who calls the billing API. `ingest` is a gateway: it posts events and reads policies, nothing else. A route lists the
 * roles that may call it; these are the usual lists.
 */
export const ROLES = ['admin', 'ops', 'finance', 'viewer', 'ingest'] as const;

export type Role = (typeof ROLES)[number];

/** Everybody who may look. */
export const READERS: readonly Role[] = ['admin', 'ops', 'finance', 'viewer'];
/** Keys and limits. */
export const OPERATORS: readonly Role[] = ['admin', 'ops'];
/** Plans, subscriptions, invoices: what changes an amount. */
export const ACCOUNTANTS: readonly Role[] = ['admin', 'finance'];
/** Customers belong to both. */
export const EDITORS: readonly Role[] = ['admin', 'ops', 'finance'];
/** What gateways need. */
export const GATEWAYS: readonly Role[] = ['admin', 'ingest'];
export const ADMINS: readonly Role[] = ['admin'];

export interface Caller {
  /** Id of the token, for logs and idempotency; never its plaintext. */
  token: string;
  role: Role;
}
