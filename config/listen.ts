import type { Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { Fault, reasonOf } from '#core/fault.ts';

/** Listens and answers the port (0 picks a free one). Throws `address_unavailable`, with what the system says. */
export async function listenAt(server: Server, { host, port }: { host: string; port: number }): Promise<number> {
  try {
    await new Promise<void>((resolve, reject) => {
      server.once('error', reject);
      server.listen(port, host, () => {
        server.off('error', reject);
        resolve();
      });
    });
  } catch (cause) {
    throw new Fault('address_unavailable', { detail: `${reasonOf(cause)}.`, cause });
  }
  return (server.address() as AddressInfo).port;
}
