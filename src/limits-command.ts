import { resolve } from 'node:path';
import { readEnvironment } from '#config/environment.ts';
import { Fault } from '#core/fault.ts';
import { adminTokenOf, DATA_DIR } from './admin-token.ts';

interface Holdings {
  reservations: { id: string; lease_ends_at: string; holds: { counter: string; amount: string }[] }[];
  next: string | null;
  debts: { counter: string; limit: string; used: string; over: string }[];
  next_debt: string | null;
}

/** `weir limits CUSTOMER`: asks a running gateway what the customer's calls hold and what it owes, and prints all of it. */
export async function limitsCommand(customer: string, gatewayUrl: string): Promise<number> {
  const { adminToken, dataDir } = readEnvironment(process.env);
  const { token } = adminTokenOf(resolve(dataDir ?? DATA_DIR), adminToken);
  const page = (query: Record<string, string>) => ask(gatewayUrl, customer, token, query);
  let [reservations, debts] = [0, 0];
  for (let after: string | null = ''; after !== null; ) {
    const { reservations: list, next } = await page({ after });
    for (const { id, lease_ends_at: until, holds } of list) {
      reservations++;
      print(`${id}  until ${until}`);
      for (const { counter, amount } of holds) print(`  ${decodeURIComponent(counter)}  ${amount}`);
    }
    after = next;
  }
  for (let after: string | null = ''; after !== null; ) {
    const { debts: list, next_debt: next } = await page({ after_debt: after });
    for (const { counter, limit, used, over } of list) {
      debts++;
      print(`debt  ${decodeURIComponent(counter)}  ${over} over ${limit} (${used} used)`);
    }
    after = next;
  }
  print(`${reservations} calls in flight, ${debts} counters in debt.`);
  return 0;
}

async function ask(
  gatewayUrl: string,
  customer: string,
  token: string,
  query: Record<string, string>,
): Promise<Holdings> {
  const address = `${gatewayUrl}/operator/limits/${encodeURIComponent(customer)}?${new URLSearchParams(query)}`;
  const response = await fetch(address, {
    headers: { authorization: `Bearer ${token}` },
  }).catch((cause: unknown) => {
    throw new Fault('limits_unavailable', { story: `No gateway answers at ${gatewayUrl}.`, cause });
  });
  if (!response.ok)
    throw new Fault('limits_unavailable', { story: `The gateway at ${gatewayUrl} answered ${response.status}.` });
  return (await response.json()) as Holdings;
}

function print(line: string): void {
  process.stdout.write(`${line}\n`);
}
