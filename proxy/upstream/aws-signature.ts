import { AwsV4Signer } from 'aws4fetch';
import { Fault } from '#core/fault.ts';
import type { UpstreamRequest } from './upstream.ts';

const SERVICE = 'bedrock';
/** `bedrock-runtime.eu-central-1.amazonaws.com`, with `-fips` and in VPC endpoints alike. */
const REGION = /\bbedrock[a-z-]*\.([a-z]{2}(?:-[a-z]+)+-\d)\b/;

/**
 * Signs a request for AWS (Signature Version 4). The credential is an access key's id and secret, and a session's token
 * where it has one, with colons between them. Throws the Fault `upstream_unauthorized`.
 */
export async function signForAws(request: UpstreamRequest, credential: string, region: string | null): Promise<void> {
  const [accessKeyId, secretAccessKey, ...rest] = credential.split(':');
  const where = region ?? REGION.exec(request.origin)?.[1];
  if (!accessKeyId || !secretAccessKey || where === undefined) {
    const story = where === undefined ? 'Its region is not known.' : 'It is no access key and secret.';
    throw new Fault('upstream_unauthorized', { story });
  }
  const signer = new AwsV4Signer({
    method: request.method,
    url: `${request.origin}${request.path}`,
    body: request.body === null ? null : new Uint8Array(request.body),
    accessKeyId,
    secretAccessKey,
    ...(rest.length > 0 && { sessionToken: rest.join(':') }),
    service: SERVICE,
    region: where,
  });
  const signed = await signer.sign();
  for (const name of ['authorization', 'x-amz-date', 'x-amz-security-token']) {
    const value = signed.headers.get(name);
    if (value !== null) request.headers.push(name, value);
  }
}
