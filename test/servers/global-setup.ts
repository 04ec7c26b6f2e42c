import { POSTGRES, answers as postgresAnswers, startPostgres } from './postgres.ts';
import { findSource, missing, type Product, type Source } from './products.ts';
import { REDIS, answers as redisAnswers, startRedis } from './redis.ts';
import type { TestServer } from './server.ts';

interface Needed {
  product: Product;
  answers(url: string): Promise<boolean>;
  start(source: Source): Promise<TestServer>;
}

const NEEDED: readonly Needed[] = [
  { product: REDIS, answers: redisAnswers, start: (source) => startRedis({}, source) },
  { product: POSTGRES, answers: postgresAnswers, start: (source) => startPostgres({}, source) },
];

/** Brings up the servers that the tests need, once per run, and puts REDIS_URL and DATABASE_URL into the environment. */
export default async function setup(): Promise<() => Promise<void>> {
  const toStart: { needed: Needed; source: Source }[] = [];
  const absent: Product[] = [];
  for (const needed of NEEDED) {
    const { name, variable } = needed.product;
    const given = process.env[variable];
    if (given) {
      if (!(await needed.answers(given))) throw new Error(`No ${name} answers at the address in ${variable}.`);
      continue;
    }
    const source = await findSource(needed.product);
    if (source) toStart.push({ needed, source });
    else absent.push(needed.product);
  }
  if (absent.length > 0) throw new Error(missing(absent));

  const results = await Promise.allSettled(toStart.map(({ needed, source }) => needed.start(source)));
  const servers = results.flatMap((result) => (result.status === 'fulfilled' ? [result.value] : []));
  const stop = async () => {
    await Promise.all(servers.map((server) => server.stop()));
  };
  const failed = results.find((result) => result.status === 'rejected');
  if (failed) {
    await stop();
    throw failed.reason;
  }
  results.forEach((result, i) => {
    const variable = toStart[i]?.needed.product.variable;
    if (variable && result.status === 'fulfilled') process.env[variable] = result.value.url;
  });
  return stop;
}
