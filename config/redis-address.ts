/** Where Redis is: one server, or a cluster of them. */

const ADDRESS = /^(rediss?)(\+cluster)?:\/\/(?:([^@/]*)@)?([^@/]+?)(\/\d*)?$/;

interface RedisAddress {
  /** Addresses that ioredis reads; more than one, or `isCluster`, for a cluster. */
  urls: string[];
  isCluster: boolean;
}

/**
 * `redis://user:password@host:6379`, with `rediss` over TLS. A cluster is `redis+cluster://user:password@host:6379,host:6379`
 * or a list of addresses with commas between; any of its nodes leads to all the others. Undefined for anything else.
 */
export function parseRedisUrl(text: string): RedisAddress | undefined {
  const parts = text.split(/,(?=rediss?:)/);
  if (parts.length > 1) return parts.every(isPlain) ? { urls: parts, isCluster: true } : undefined;
  const [, protocol, cluster, credentials, hosts = '', path = ''] = ADDRESS.exec(text) ?? [];
  if (cluster === undefined) return isPlain(text) ? { urls: [text], isCluster: false } : undefined;
  const user = credentials === undefined ? '' : `${credentials}@`;
  const urls = hosts.split(',').map((host) => `${protocol}://${user}${host}`);
  return path.length <= 1 && urls.every(isPlain) ? { urls, isCluster: true } : undefined;
}

function isPlain(url: string): boolean {
  const { protocol = '', hostname = '' } = URL.parse(url) ?? {};
  return /^rediss?:$/.test(protocol) && hostname !== '' && !hostname.includes(',');
}
