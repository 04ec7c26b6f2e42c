import { readFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { withWires } from './reference.ts';
import { WIRES } from './wires.ts';

describe('the page of wires', () => {
  const page = readFileSync(new URL('../../docs/wires.md', import.meta.url), 'utf8');

  it('has every wire as the code has it (npm run docs)', () => {
    expect(withWires(page)).toBe(page);
    for (const { name } of WIRES) expect(page).toContain(`| \`${name}\`, `);
  });
});
