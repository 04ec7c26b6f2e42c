import { get, post } from './api.js';
import { element, table } from './dom.js';
import { formatDecimal, formatMoney, formatTime } from './format.js';
import { panel } from './panel.js';

/**
 * @typedef {{ id: string, kind: string, unit: string | null, amount: string | { amount: string, currency: string },
 *   per: string | null, mode: string }} Limit
 * @typedef {{ id: string, name: string, mode: string, state: string, models: string[], limits: Limit[],
 *   expires_at: string | null, secrets: { hint: string, expires_at: string | null }[], managed_by: string,
 *   removed_at: string | null }} Key
 */

/**
 * The keys of a customer, and a form for a new one.
 *
 * @param {{ id: string, timezone: string }} customer
 * @param {AbortSignal} signal
 */
export function keysPanel(customer, signal) {
  const { section, show, fail } = panel('keys', 'Keys');

  async function refresh() {
    try {
      /** @type {{ data: Key[], next_cursor: string | null }} */
      const page = await get('/v1/keys', { customer: customer.id, limit: '200' });
      if (signal.aborted) return;
      const more =
        page.next_cursor === null ? [] : [element('p', { class: 'quiet' }, 'The first 200; more by the API.')];
      show(draw(page.data, customer.timezone), ...more);
    } catch (error) {
      if (!signal.aborted) fail(error);
    }
  }

  section.append(newKeyForm(customer.id, refresh));
  void refresh();
  return section;
}

/**
 * @param {Key[]} keys
 * @param {string} timezone
 */
function draw(keys, timezone) {
  const columns = ['Key', 'Name', 'State', 'Models', 'Limits', 'Secret ends in', 'Managed by'].map((title) => ({
    title,
  }));
  const rows = keys.map((key) => [
    element('code', {}, key.id),
    key.name,
    stateOf(key, timezone),
    key.models.length === 0 ? 'all' : key.models.join(', '),
    key.limits.map(limitText).join(', '),
    key.secrets
      .map(({ hint, expires_at }) =>
        expires_at === null ? hint : `${hint} (until ${formatTime(expires_at, timezone)})`,
      )
      .join(', '),
    key.managed_by === 'config' ? 'configuration' : 'API',
  ]);
  return table('Keys of the customer', columns, rows, 'No keys yet.');
}

/**
 * @param {Key} key
 * @param {string} timezone
 */
function stateOf(key, timezone) {
  if (key.removed_at !== null) return 'removed';
  if (key.state === 'revoked' || key.expires_at === null) return key.state;
  return `${key.state}, expires ${formatTime(key.expires_at, timezone)}`;
}

/** @param {Limit} limit */
function limitText(limit) {
  const amount = typeof limit.amount === 'string' ? formatDecimal(limit.amount) : formatMoney(limit.amount);
  const what = limit.unit ?? limit.kind;
  const mode = limit.mode === 'hard' ? '' : ` (${limit.mode})`;
  return `${amount} ${what}${limit.per === null ? '' : ` per ${limit.per}`}${mode}`;
}

/**
 * @param {string} customer
 * @param {() => Promise<void>} created
 */
function newKeyForm(customer, created) {
  const name = element('input', { id: 'key-name', required: true, maxlength: 200, autocomplete: 'off' });
  const models = element('input', { id: 'key-models', placeholder: 'all', autocomplete: 'off', spellcheck: 'false' });
  const submit = element('button', { type: 'submit' }, 'Create key');
  const result = element('div', { role: 'status' });
  const form = element(
    'form',
    { class: 'row' },
    element('div', {}, element('label', { for: 'key-name' }, 'Name'), name),
    element('div', {}, element('label', { for: 'key-models' }, 'Models, with commas'), models),
    submit,
  );
  // The same until the key is made: a form that is sent twice makes one key.
  let idempotencyKey = newIdempotencyKey();
  form.addEventListener('submit', async (event) => {
    event.preventDefault();
    submit.disabled = true;
    try {
      const patterns = models.value.split(',').map((pattern) => pattern.trim());
      const body = { customer, name: name.value, models: patterns.filter((pattern) => pattern !== '') };
      /** @type {{ id: string, secret: string | null }} */
      const key = await post('/v1/keys', body, idempotencyKey);
      form.reset();
      result.replaceChildren(newSecret(key));
      idempotencyKey = newIdempotencyKey();
      await created();
    } catch (error) {
      result.replaceChildren(
        element('p', { class: 'problem' }, error instanceof Error ? error.message : String(error)),
      );
      // What was refused was not done; what the form says next is another request.
      idempotencyKey = newIdempotencyKey();
    } finally {
      submit.disabled = false;
    }
  });
  return element('div', {}, element('h4', {}, 'New key'), form, result);
}

/** @param {{ id: string, secret: string | null }} key */
function newSecret(key) {
  if (key.secret === null) return element('p', {}, `The key ${key.id} was made before; its secret has been shown.`);
  const secret = key.secret;
  // Plain HTTP on another machine has no clipboard: the secret can still be selected.
  const copy = navigator.clipboard ? element('button', { type: 'button' }, 'Copy') : undefined;
  copy?.addEventListener('click', async () => {
    await navigator.clipboard.writeText(secret);
    copy.textContent = 'Copied';
  });
  return element(
    'div',
    { class: 'secret' },
    element('p', {}, 'This is the only time that the secret is shown. Keep it where your application reads it.'),
    element('code', { id: 'new-secret' }, secret),
    copy,
  );
}

/** Not crypto.randomUUID, which plain HTTP on another machine does not have. */
function newIdempotencyKey() {
  return Array.from(crypto.getRandomValues(new Uint8Array(16)), (byte) => byte.toString(16).padStart(2, '0')).join('');
}
