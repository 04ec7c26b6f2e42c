import { ApiProblem, forgetToken, get, hasToken, keepToken, takeTokenFromAddress } from './api.js';
import { byId, element } from './dom.js';
import { invoicesPanel } from './invoices.js';
import { keysPanel } from './keys.js';
import { previewPanel } from './preview.js';
import { unpricedPanel } from './unpriced.js';
import { usagePanel } from './usage.js';

/**
 * The console: a token, a list of customers, and the one that the address names (`#customer=acme`).
 *
 * @typedef {{ id: string, name: string, timezone: string, currency: string, managed_by: string,
 *   removed_at: string | null }} Customer
 */

const signIn = byId('sign-in', HTMLElement);
const signInForm = byId('sign-in-form', HTMLFormElement);
const signInProblem = byId('sign-in-problem', HTMLElement);
const signOut = byId('sign-out', HTMLButtonElement);
const token = byId('token', HTMLInputElement);
const main = byId('console', HTMLElement);
const list = byId('customers', HTMLElement);
const place = byId('customer', HTMLElement);

/** Ends what the customer shown before still asks for. */
let shown = new AbortController();

signInForm.addEventListener('submit', (event) => {
  event.preventDefault();
  keepToken(token.value.trim());
  token.value = '';
  void start();
});
signOut.addEventListener('click', () => leave(''));
addEventListener('hashchange', async () => {
  if (takeTokenFromAddress() || main.hidden) return start();
  await attempt(() => drawCustomer(selected()));
  place.focus();
});

takeTokenFromAddress();
void start();

async function start() {
  shown.abort();
  if (!hasToken()) return leave('');
  await attempt(async () => {
    const customers = await drawCustomers();
    signIn.hidden = true;
    main.hidden = false;
    signOut.hidden = false;
    await drawCustomer(selected() ?? customers[0]?.id);
  });
}

/**
 * A token that is not, or no longer, good for this leads back to the door; anything else is said.
 *
 * @param {() => Promise<void>} work
 */
async function attempt(work) {
  try {
    await work();
  } catch (error) {
    const isRefused = error instanceof ApiProblem && (error.status === 401 || error.status === 403);
    if (isRefused) return leave(error.message);
    main.hidden = false;
    place.replaceChildren(
      element('p', { class: 'problem', role: 'alert' }, error instanceof Error ? error.message : String(error)),
    );
  }
}

/** @param {string} problem */
function leave(problem) {
  shown.abort();
  forgetToken();
  list.replaceChildren();
  place.replaceChildren();
  main.hidden = true;
  signOut.hidden = true;
  signIn.hidden = false;
  signInProblem.textContent = problem;
  token.focus();
}

function selected() {
  return new URLSearchParams(location.hash.slice(1)).get('customer') ?? undefined;
}

/** @returns {Promise<Customer[]>} */
async function drawCustomers() {
  const items = element('ul');
  /** @type {Customer[]} */
  const customers = [];
  const more = element('button', { type: 'button' }, 'More');
  /** @param {string} [cursor] */
  async function next(cursor) {
    /** @type {{ data: Customer[], next_cursor: string | null }} */
    const page = await get('/v1/customers', { limit: '100', cursor });
    customers.push(...page.data);
    items.append(...page.data.map(customerItem));
    more.hidden = page.next_cursor === null;
    more.onclick = () => void next(page.next_cursor ?? undefined);
  }
  await next();
  const nothing = customers.length === 0 ? [element('p', { class: 'quiet' }, 'No customers yet.')] : [];
  list.replaceChildren(element('h2', {}, 'Customers'), items, ...nothing, more);
  return customers;
}

/** @param {Customer} customer */
function customerItem(customer) {
  const address = `#${new URLSearchParams({ customer: customer.id })}`;
  return element('li', {}, element('a', { href: address, 'data-customer': customer.id }, customer.name));
}

/** @param {string | undefined} id */
async function drawCustomer(id) {
  for (const link of list.querySelectorAll('a')) {
    if (link.dataset.customer === id) link.setAttribute('aria-current', 'page');
    else link.removeAttribute('aria-current');
  }
  shown.abort();
  if (id === undefined) return place.replaceChildren();
  shown = new AbortController();
  const { signal } = shown;
  /** @type {Customer} */
  const customer = await get(`/v1/customers/${encodeURIComponent(id)}`);
  if (signal.aborted) return;
  document.title = `${customer.name} · Weir`;
  place.replaceChildren(
    element('h2', {}, customer.name),
    element(
      'p',
      { class: 'quiet' },
      element('code', {}, customer.id),
      ` · ${customer.timezone} · ${customer.currency}`,
    ),
    usagePanel(customer.id, signal),
    previewPanel(customer.id, signal),
    invoicesPanel(customer, signal),
    keysPanel(customer, signal),
    unpricedPanel(signal),
  );
}
