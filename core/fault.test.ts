import { describe, expect, it } from 'vitest';
import { FAULTS, Fault, faultOf } from './fault.ts';

describe('faults', () => {
  it('say the public sentence and its detail, and keep the story and the cause for the log', () => {
    const cause = new Error('ECONNREFUSED 10.0.0.7:443');
    const fault = new Fault('upstream_unreachable', { detail: 'Tried 2 upstreams.', story: 'openai-eu', cause });
    expect(fault.message).toBe('The upstream could not be reached. Tried 2 upstreams.');
    expect(fault.message).not.toContain('10.0.0.7');
    expect([fault.status, fault.code, fault.story, fault.cause]).toEqual([
      502,
      'upstream_unreachable',
      'openai-eu',
      cause,
    ]);
  });

  it('pass through as they are, and wrap whatever else was thrown', () => {
    const fault = new Fault('not_found');
    expect(faultOf(fault)).toBe(fault);
    const wrapped = faultOf('a string');
    expect([wrapped.code, wrapped.status, wrapped.cause]).toEqual(['internal', 500, 'a string']);
    expect(wrapped.message).toBe(FAULTS.internal.text);
  });

  it('have a status of an error and one sentence each', () => {
    for (const [code, { status, text }] of Object.entries(FAULTS)) {
      expect(status >= 400 && status < 600, code).toBe(true);
      expect(text, code).toMatch(/^[A-Z].*\.$/);
    }
  });
});
