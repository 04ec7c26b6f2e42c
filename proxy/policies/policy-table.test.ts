import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { KEY_POLICY_VERSION, type KeyPolicy } from '#core/key-policy.ts';
import { type PolicySource, policyTable } from './policy-table.ts';

function policy(key: string, secretHashes: string[], customer = 'acme'): KeyPolicy {
  return {
    version: KEY_POLICY_VERSION,
    key,
    customer,
    secretHashes,
    state: 'active',
    expiresAtMs: null,
    models: [],
    labels: {},
    limits: [],
  };
}

describe('policyTable', () => {
  it('finds a key by each of its secrets, and no longer by one that it lost', () => {
    const table = policyTable();
    table.replace('billing', [policy('k', ['old', 'new'])]);
    expect(table.find('old')).toBe(table.find('new'));
    table.change('billing', [policy('k', ['new'])], []);
    expect(table.find('old')).toBeUndefined();
    expect(table.find('new')?.key).toBe('k');
  });

  it('lets the configuration win for the same key, and gives it back to billing when the configuration drops it', () => {
    const table = policyTable();
    table.replace('billing', [policy('k', ['from-billing'])]);
    table.replace('config', [policy('k', ['from-config'])]);
    expect(table.find('from-billing')).toBeUndefined();
    expect(table.find('from-config')?.key).toBe('k');
    table.replace('config', []);
    expect(table.find('from-billing')?.key).toBe('k');
    expect(table.find('from-config')).toBeUndefined();
  });

  it('lets the configuration win for the same secret', () => {
    const table = policyTable();
    table.replace('config', [policy('a', ['same'])]);
    table.replace('billing', [policy('b', ['same'])]);
    expect(table.find('same')?.key).toBe('a');
    table.change('config', [], ['a']);
    expect(table.find('same')?.key).toBe('b');
  });

  it('leaves the other source alone when one is replaced', () => {
    const table = policyTable();
    table.replace('config', [policy('a', ['a'])]);
    table.replace('billing', [policy('b', ['b']), policy('c', ['c'])]);
    table.replace('billing', [policy('c', ['c'])]);
    expect(['a', 'b', 'c'].map((hash) => table.find(hash)?.key)).toEqual(['a', undefined, 'c']);
    expect(table.list('billing').map((one) => one.key)).toEqual(['c']);
  });

  it('answers as a table that is made anew from both sources, after any history', () => {
    const source = fc.constantFrom<PolicySource>('config', 'billing');
    // Secrets belong to one key within a source, as the configuration and the database see to.
    const change = fc.record({
      source,
      key: fc.constantFrom('a', 'b', 'c'),
      secrets: fc.subarray(['1', '2']),
      shared: fc.boolean(),
      remove: fc.boolean(),
    });
    fc.assert(
      fc.property(fc.array(change, { maxLength: 30 }), (history) => {
        const table = policyTable();
        const now: Record<PolicySource, Map<string, KeyPolicy>> = { config: new Map(), billing: new Map() };
        for (const step of history) {
          const hashes = step.secrets.map((secret) => (step.shared ? '' : step.source) + step.key + secret);
          if (step.remove) {
            now[step.source].delete(step.key);
            table.change(step.source, [], [step.key]);
          } else {
            now[step.source].set(step.key, policy(step.key, hashes));
            table.change(step.source, [policy(step.key, hashes)], []);
          }
        }
        for (const hash of ['', 'config', 'billing'].flatMap((s) =>
          ['a1', 'a2', 'b1', 'b2', 'c1', 'c2'].map((k) => s + k),
        )) {
          const has = (one: KeyPolicy) => one.secretHashes.includes(hash);
          const wanted =
            [...now.config.values()].find(has) ??
            [...now.billing.values()].find((one) => has(one) && !now.config.has(one.key));
          expect(table.find(hash)).toEqual(wanted);
        }
      }),
    );
  });
});
