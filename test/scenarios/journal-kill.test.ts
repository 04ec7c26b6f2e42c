import { join } from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';
import { expect, it, onTestFinished } from 'vitest';
import { billingStub } from '#test/support/billing-stub.ts';
import { temporaryFolder } from '#test/support/journal.ts';
import { poll } from '#test/support/poll.ts';
import { startChild, Witness } from './calls.ts';

const KILLS = 25;

it.each(['never', 'interval', 'always'] as const)(
  'gives every call exactly one event through kill -9 at random moments, with fsync %s',
  async (fsync) => {
    const billing = await billingStub();
    onTestFinished(() => billing.down());
    const witness = new Witness(join(temporaryFolder(), 'witness'));
    const options = {
      dir: temporaryFolder(),
      fsync,
      store: { kind: 'billing', url: billing.url },
      finish: false,
    } as const;

    for (let i = 0; i < Math.ceil(KILLS / 3); i++) {
      const child = startChild(options, witness);
      // Some die while they start or recover, most while they serve, however slow the machine is.
      if (i % 4 === 3) await moment(400);
      else {
        const before = witness.countOf('closed');
        await child.ready;
        await poll(() => witness.countOf('closed') >= before + 20, 20_000);
        await moment(100);
      }
      child.process.kill('SIGKILL');
      await child.gone;
    }
    const { code, lastLine } = await startChild({ ...options, finish: true }, witness).gone;
    expect(code).toBe(0);
    expect(lastLine).toBe('finished 0');

    expect(witness.countOf('closed')).toBeGreaterThan(100);
    expect(witness.countOf('opened') + witness.countOf('closing')).toBeGreaterThan(5);
    expect(witness.faultsOf([...billing.events.values()])).toEqual([]);
    expect(billing.conflicts).toEqual([]);
  },
  120_000,
);

/** When the kill comes is what is random here. */
function moment(maxMs: number): Promise<void> {
  return pause(Math.random() * maxMs);
}
