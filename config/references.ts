import { findProvider, listProviders, type ProviderRow } from './catalogue.ts';
import { sha256Hex } from './hash.ts';
import { didYouMean } from './nearest.ts';
import { builtinPriceBook } from './price-book.ts';
import { hides } from './schema-parts.ts';
import { AGENT_FAMILIES, WIRE_FAMILIES } from './wires.ts';
import type { Path, YamlFile } from './yaml.ts';

/**
 * The rules that concern several parts of the file: names that must exist, secrets that must not repeat. They read the
 * file as it stands, not what the schema made of it, so that a mistake elsewhere hides none of them.
 */
export interface Finding {
  readonly path: Path;
  readonly text: string;
}

/** Headers whose value is a credential. */
const CREDENTIAL_HEADERS: ReadonlySet<string> = new Set([
  'authorization',
  'api-key',
  'x-api-key',
  'x-goog-api-key',
  'cookie',
]);

type Fields = Readonly<Record<string, unknown>>;

function fieldsOf(value: unknown): Fields {
  return typeof value === 'object' && value !== null && !Array.isArray(value) ? (value as Fields) : {};
}

function itemsOf(value: unknown): readonly unknown[] {
  return Array.isArray(value) ? value : [];
}

function textOf(value: unknown): string | undefined {
  return typeof value === 'string' ? value : undefined;
}

export async function findWrongReferences(file: YamlFile): Promise<Finding[]> {
  const root = fieldsOf(file.value);
  return [
    ...findWrongRoutes(root),
    ...findWrongUpstreams(root),
    ...findWrongHalts(root),
    ...findWrongCustomers(root),
    ...(await findWrongSecrets(root, file)),
  ];
}

function findWrongRoutes(root: Fields): Finding[] {
  const upstreams = Object.keys(fieldsOf(root.upstreams));
  const routes = itemsOf(root.routes).map(fieldsOf);
  return routes.flatMap((route, i) => {
    const findings: Finding[] = [];
    for (const part of ['to', 'fallback']) {
      itemsOf(route[part]).forEach((target, j) => {
        const own = textOf(target);
        const name = own ?? textOf(fieldsOf(target).upstream);
        if (name === undefined || upstreams.includes(name)) return;
        const path = ['routes', i, part, j, ...(own === undefined ? ['upstream'] : [])];
        findings.push({ path, text: `no upstream is named "${name}"${didYouMean(name, upstreams)}` });
      });
    }
    const weights = itemsOf(route.to).map((target) => textOf(fieldsOf(target).weight) ?? '1');
    if (weights.length > 0 && weights.every((weight) => weight === '0')) {
      findings.push({ path: ['routes', i, 'to'], text: 'must have a weight above 0, or no upstream is ever chosen' });
    }
    const pattern = textOf(route.model);
    const before = routes.slice(0, i).find((other) => hides(textOf(other.model) ?? '', pattern ?? ''));
    if (pattern !== undefined && before) {
      findings.push({
        path: ['routes', i, 'model'],
        text: `is never reached: the rule for "${before.model}" holds first`,
      });
    }
    return findings;
  });
}

function findWrongUpstreams(root: Fields): Finding[] {
  const listed = new Set(listProviders().map((row) => row.provider));
  const models = itemsOf(root.models).map(fieldsOf);
  const priced = new Set(models.map((model) => textOf(model.provider)));
  const routed = new Set(
    itemsOf(root.routes)
      .map(fieldsOf)
      .flatMap((route) => [...itemsOf(route.to), ...itemsOf(route.fallback)])
      .map((target) => textOf(target) ?? textOf(fieldsOf(target).upstream)),
  );
  const findings: Finding[] = [];
  const providers = new Set<string>();
  for (const [name, value] of Object.entries(fieldsOf(root.upstreams))) {
    const upstream = fieldsOf(value);
    const path = ['upstreams', name];
    const own = textOf(upstream.provider);
    const addresses = fieldsOf(upstream.base_urls);
    const known = findProvider(own ?? name, textOf(upstream.base_url ?? Object.values(addresses)[0]) ?? null);
    const provider = own ?? known?.provider;
    if (provider !== undefined) providers.add(provider);
    if (own !== undefined && !listed.has(own) && !priced.has(own)) {
      const text = `is no provider of the catalogue, and no entry of \`models\` is for it${didYouMean(own, [...listed])}`;
      findings.push({ path: [...path, 'provider'], text });
    }
    const addressless = findWrongAddress(upstream, known);
    if (addressless !== undefined) findings.push({ path, text: addressless });
    const hasModels =
      upstream.models !== undefined ||
      (provider !== undefined &&
        (builtinPriceBook().listModels(provider, name).length > 0 ||
          models.some((model) => model.provider === provider && !textOf(model.model)?.includes('*')))) ||
      models.some((model) => model.upstream === name && !textOf(model.model)?.includes('*'));
    const families = [textOf(upstream.wire) ?? '', ...Object.keys(addresses)];
    const isAgent = families.some((one) => AGENT_FAMILIES.has(one));
    if (upstream.units !== undefined && !families.includes('agent')) {
      findings.push({ path: [...path, 'units'], text: 'is for agents only: give it `wire: agent`' });
    }
    if (!hasModels && !routed.has(name) && !isAgent) {
      findings.push({ path, text: 'is never used: give it `models`, the `provider` of a catalogue, or a route' });
    }
  }
  findings.push(...findWrongModels(models, Object.keys(fieldsOf(root.upstreams)), [...listed, ...providers]));
  return findings;
}

function findWrongModels(models: readonly Fields[], upstreams: string[], providers: string[]): Finding[] {
  return models.flatMap((model, i) => {
    const findings: Finding[] = [];
    const { upstream, provider } = model;
    if (typeof upstream === 'string' && !upstreams.includes(upstream)) {
      const text = `no upstream is named "${upstream}"${didYouMean(upstream, upstreams)}`;
      findings.push({ path: ['models', i, 'upstream'], text });
    }
    if (typeof provider === 'string' && !providers.includes(provider)) {
      const text = `is the provider of no upstream${didYouMean(provider, providers)}`;
      findings.push({ path: ['models', i, 'provider'], text });
    }
    const before = models.slice(0, i).find((other) => hidesPrices(other, model));
    if (before) {
      const text = `is never reached: the entry for "${textOf(before.model)}" holds first`;
      findings.push({ path: ['models', i, 'model'], text });
    }
    return findings;
  });
}

/** True when an entry before another takes all calls that the other could price, as far as is plain to see. */
function hidesPrices(before: Fields, after: Fields): boolean {
  const pricesOf = ({ prices, factor }: Fields) => prices ?? factor;
  if (pricesOf(before) === undefined || pricesOf(after) === undefined) return false;
  const scope = (entry: Fields) =>
    JSON.stringify([entry.provider, entry.upstream, entry.customer, `${entry.hold_only}` === 'true']);
  if (scope(before) !== scope(after)) return false;
  const [pattern = '', other = ''] = [textOf(before.model), textOf(after.model)];
  if (pattern === other) return before.from === after.from;
  // What is dated, or a multiple of what comes after it, leaves the others something to say.
  return before.from === undefined && before.prices !== undefined && hides(pattern, other);
}

/** Customers and keys may be billing's; an upstream is always one of this file. */
function findWrongHalts(root: Fields): Finding[] {
  const upstreams = Object.keys(fieldsOf(root.upstreams));
  return itemsOf(root.halts).flatMap((halt, i): Finding[] => {
    const name = textOf(fieldsOf(halt).upstream);
    if (name === undefined || upstreams.includes(name)) return [];
    return [{ path: ['halts', i, 'upstream'], text: `no upstream is named "${name}"${didYouMean(name, upstreams)}` }];
  });
}

/** An upstream needs one address at least, and each address a wire that is spoken there. */
function findWrongAddress(upstream: Fields, known: ProviderRow | undefined): string | undefined {
  const { wire, base_url, base_urls } = upstream;
  if (base_urls !== undefined) {
    if (wire !== undefined || base_url !== undefined) return 'must have either `base_urls` or `wire` and `base_url`';
    return Object.keys(fieldsOf(base_urls)).length === 0 ? 'must have an address in its `base_urls`' : undefined;
  }
  if (base_url !== undefined) {
    return wire === undefined ? 'must have a `wire`: the API that is spoken at its `base_url`' : undefined;
  }
  if (!known) return 'must have a `base_url`, since its provider is not one that is known';
  const missing = WIRE_FAMILIES.find((family) => family === wire && known.base_urls[family] === undefined);
  return missing && `must have a \`base_url\`, since no address of ${known.name} for "${missing}" is known`;
}

function findWrongCustomers(root: Fields): Finding[] {
  const plans = fieldsOf(root.plans);
  const keys = new Map<string, string>();
  return Object.entries(fieldsOf(root.customers)).flatMap(([id, value]) => {
    const customer = fieldsOf(value);
    const findings: Finding[] = [];
    const plan = textOf(customer.plan);
    if (plan !== undefined && !Object.hasOwn(plans, plan)) {
      const text = `no plan is named "${plan}"${didYouMean(plan, Object.keys(plans))}`;
      findings.push({ path: ['customers', id, 'plan'], text });
    } else if (plan !== undefined) {
      const currency = textOf(fieldsOf(plans[plan]).currency) ?? 'USD';
      const own = textOf(customer.currency) ?? currency;
      if (own !== currency) {
        findings.push({ path: ['customers', id, 'currency'], text: `must be ${currency}, as its plan "${plan}" is` });
      }
    }
    findings.push(...findWrongBases(customer, fieldsOf(plans[plan ?? '']), plan, ['customers', id]));
    for (const key of Object.keys(fieldsOf(customer.keys))) {
      const other = keys.get(key);
      if (other !== undefined) {
        findings.push({ path: ['customers', id, 'keys', key], text: `is the id of a key of "${other}" already` });
      }
      keys.set(key, id);
    }
    return findings;
  });
}

/** Budgets that count the customer's price need a plan in which it is so much for each unit, whatever came before. */
function findWrongBases(customer: Fields, plan: Fields, name: string | undefined, base: Path): Finding[] {
  const owners = [
    { fields: customer, path: base },
    ...Object.entries(fieldsOf(customer.keys)).map(([key, value]) => ({
      fields: fieldsOf(value),
      path: [...base, 'keys', key],
    })),
  ];
  return owners.flatMap(({ fields, path }) =>
    itemsOf(fields.limits).flatMap((value, i): Finding[] => {
      const limit = fieldsOf(value);
      if (limit.basis !== 'price') return [];
      const at = [...path, 'limits', i];
      if (name === undefined) return [{ path: [...at, 'basis'], text: 'needs a customer with a plan' }];
      if (itemsOf(plan.prices).length === 0 || itemsOf(plan.charges).length > 0) {
        const text = `needs a plan with \`prices\` and without \`charges\`: what a call of "${name}" costs is not so much for each unit`;
        return [{ path: [...at, 'basis'], text }];
      }
      const currency = textOf(plan.currency) ?? 'USD';
      const own = textOf(limit.budget)?.split(' ')[1];
      return own === undefined || own === currency
        ? []
        : [{ path: [...at, 'budget'], text: `must be in ${currency}, as the plan "${name}" is` }];
    }),
  );
}

async function findWrongSecrets(root: Fields, file: YamlFile): Promise<Finding[]> {
  const findings: Finding[] = [];
  const plaintextAllowed = `${root.allow_plaintext_secrets}` === 'true';
  const owners = new Map<string, string>();

  function refusePlaintext(path: Path, instead: string): void {
    if (plaintextAllowed || file.isFromEnvironment(path)) return;
    findings.push({ path, text: `is a secret in plain text: ${instead}, or set \`allow_plaintext_secrets: true\`` });
  }

  for (const [name, value] of Object.entries(fieldsOf(root.upstreams))) {
    const upstream = fieldsOf(value);
    if (upstream.key !== undefined) refusePlaintext(['upstreams', name, 'key'], 'take it from the environment');
    for (const header of Object.keys(fieldsOf(upstream.headers))) {
      if (!CREDENTIAL_HEADERS.has(header.toLowerCase())) continue;
      refusePlaintext(['upstreams', name, 'headers', header], 'take it from the environment');
    }
  }
  for (const [id, customer] of Object.entries(fieldsOf(root.customers))) {
    for (const [keyId, key] of Object.entries(fieldsOf(fieldsOf(customer).keys))) {
      const path = ['customers', id, 'keys', keyId, 'secret'];
      const given = fieldsOf(key).secret;
      const secrets = Array.isArray(given)
        ? given.map((one, i) => [[...path, i], one] as const)
        : [[path, given] as const];
      for (const [secretPath, one] of secrets) {
        const text = textOf(one);
        if (text === undefined) continue;
        const hash = await secretHash(text);
        if (!text.startsWith('sha256:')) refusePlaintext(secretPath, 'give its hash as "sha256:…"');
        const owner = owners.get(hash);
        if (owner !== undefined) findings.push({ path: secretPath, text: `is the secret of key "${owner}" already` });
        owners.set(hash, keyId);
      }
    }
  }
  return findings;
}

/** The hash that a secret of the file stands for. */
export async function secretHash(text: string): Promise<string> {
  return text.startsWith('sha256:') ? text.slice('sha256:'.length) : await sha256Hex(text);
}
