import type { OpenCall, Stored } from './stored.ts';

/**
 * A store that several gateways share, and beside it a copy of what this one has put there: it may be away when something
 * is to be kept, and it may lose what it had. What is missing there is put there again, when it is looked for, and as
 * often as an open call is looked at. `failed` hears of what the shared one did not take.
 */
export function copiedStored(shared: Stored, own: Stored, failed: (error: unknown) => void): Stored {
  async function mend(nowMs: number, max: number): Promise<void> {
    for (const { call } of await own.calls.claim(nowMs, max)) {
      const found = await shared.calls.find(call.customer, call.id);
      if (found === 'forgotten') await own.calls.forget(call);
      else if (found === undefined) await putBack(call);
    }
  }

  async function putBack(call: OpenCall): Promise<void> {
    const object = await own.objects.find(call.customer, call.object);
    if (object) await shared.objects.keep(object);
    await shared.calls.keep(call);
  }

  return {
    objects: {
      async keep(object) {
        // Of ordinary responses there are too many to have them twice.
        if (object.kind === 'response' && object.call === null) return shared.objects.keep(object);
        await own.objects.keep(object);
        await shared.objects.keep(object).catch(failed);
      },
      async find(customer, id) {
        const found = await shared.objects.find(customer, id);
        if (found) return found;
        const copy = await own.objects.find(customer, id);
        // Another customer may have sent a file of that name since, through another gateway.
        if (!copy || (copy.kind === 'file' && (await shared.objects.isFile(id)))) return undefined;
        await shared.objects.keep(copy);
        return copy;
      },
      isFile: async (id) => (await shared.objects.isFile(id)) || own.objects.isFile(id),
    },
    calls: {
      async keep(call) {
        await own.calls.keep(call);
        await shared.calls.keep(call).catch(failed);
      },
      async find(customer, id) {
        const found = await shared.calls.find(customer, id);
        if (found !== undefined) return found;
        const copy = await own.calls.find(customer, id);
        if (copy && copy !== 'forgotten') await putBack(copy.call);
        return copy;
      },
      async claim(nowMs, max) {
        await mend(nowMs, max);
        return shared.calls.claim(nowMs, max);
      },
      async conclude(call, closing) {
        const counted = await shared.calls.conclude(call, closing);
        if (counted) return counted;
        // Settled, or lost there since it was claimed: then it would count as settled, and could be deleted.
        const copy = await own.calls.find(call.customer, call.id);
        if (!copy || copy === 'forgotten' || (await shared.calls.find(call.customer, call.id))) return undefined;
        await putBack(copy.call);
        return shared.calls.conclude(call, closing);
      },
      async forget(call) {
        await shared.calls.forget(call);
        await own.calls.forget(call);
      },
    },
  };
}
