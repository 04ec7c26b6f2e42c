/**
 * The billing API as the console calls it. The token lives in sessionStorage and in the Authorization header, nowhere
 * else: not in an address, not in a cookie.
 *
 * @typedef {{ detail: string, pointer?: string, parameter?: string }} Issue
 */

const STORAGE_KEY = 'weir-token';

/** What the API refused, in its own words. */
export class ApiProblem extends Error {
  /**
   * @param {number} status
   * @param {{ code?: string, title?: string, detail?: string, errors?: Issue[] }} problem
   */
  constructor(status, problem) {
    const issues = (problem.errors ?? []).map(({ detail, pointer, parameter }) =>
      [pointer?.replace('#/', '') ?? parameter, detail].filter((part) => part !== undefined).join(': '),
    );
    super([problem.title ?? `The API answered ${status}.`, problem.detail, ...issues].filter(Boolean).join(' '));
    this.status = status;
    this.code = problem.code ?? '';
  }
}

/** A token in the address (`#token=…`, as the first start prints it) moves to the tab's storage and out of sight. True when there was one. */
export function takeTokenFromAddress() {
  const fragment = new URLSearchParams(location.hash.slice(1));
  const token = fragment.get('token');
  if (token === null) return false;
  sessionStorage.setItem(STORAGE_KEY, token);
  fragment.delete('token');
  const rest = fragment.toString();
  history.replaceState(null, '', location.pathname + (rest === '' ? '' : `#${rest}`));
  return true;
}

export function hasToken() {
  return sessionStorage.getItem(STORAGE_KEY) !== null;
}

/** @param {string} token */
export function keepToken(token) {
  sessionStorage.setItem(STORAGE_KEY, token);
}

export function forgetToken() {
  sessionStorage.removeItem(STORAGE_KEY);
}

/**
 * @param {string} path
 * @param {Record<string, string | undefined>} [query]
 * @returns {Promise<any>} what the API documents for the path
 */
export function get(path, query = {}) {
  const given = Object.entries(query).flatMap(([name, value]) => (value === undefined ? [] : [[name, value]]));
  const search = new URLSearchParams(given).toString();
  return call('GET', search === '' ? path : `${path}?${search}`);
}

/**
 * Safe to repeat: what is tried again carries the key of the first try.
 *
 * @param {string} path
 * @param {object} body
 * @param {string} idempotencyKey
 * @returns {Promise<any>} what the API documents for the path
 */
export function post(path, body, idempotencyKey) {
  return call('POST', path, body, { 'idempotency-key': idempotencyKey });
}

/**
 * @param {string} method
 * @param {string} path
 * @param {object} [body]
 * @param {Record<string, string>} [headers]
 * @returns {Promise<any>}
 */
async function call(method, path, body, headers = {}) {
  const response = await fetch(path, {
    method,
    headers: {
      ...headers,
      authorization: `Bearer ${sessionStorage.getItem(STORAGE_KEY)}`,
      ...(body === undefined ? {} : { 'content-type': 'application/json' }),
    },
    ...(body === undefined ? {} : { body: JSON.stringify(body) }),
    cache: 'no-store',
    credentials: 'omit',
  });
  const answer = await response.json().catch(() => ({}));
  if (!response.ok) throw new ApiProblem(response.status, answer);
  return answer;
}
