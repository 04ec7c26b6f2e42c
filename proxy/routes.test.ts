import { describe, expect, it } from 'vitest';
import { Fault } from '#core/fault.ts';
import { dialectOfCall, getMatch } from './routes.ts';
import { anthropicDialect } from './wire/anthropic-dialect.ts';
import { openaiDialect } from './wire/openai-dialect.ts';
import { hasNames, pathPattern } from './wire/path-pattern.ts';

function nameAt(method: string, path: string): string {
  try {
    const { endpoint, upstream } = getMatch(method, path);
    const name = endpoint.kind === 'wire' ? endpoint.wire.name : endpoint.kind;
    return upstream === null ? name : `${upstream}: ${name}`;
  } catch (thrown) {
    if (thrown instanceof Fault) return `${thrown.code} ${thrown.detail ?? ''}`.trim();
    throw thrown;
  }
}

describe('a path', () => {
  it("leads to the wire whose provider has it, and to what is Weir's own", () => {
    expect(nameAt('POST', '/v1/chat/completions')).toBe('openai-chat');
    expect(nameAt('POST', '/v1/messages/count_tokens')).toBe('anthropic-count-tokens');
    expect(nameAt('GET', '/v1/models')).toBe('models');
    expect(getMatch('GET', '/v1/models/meta/llama-3%3A8b').params).toEqual({ model: 'meta/llama-3%3A8b' });
    expect(nameAt('GET', '/healthz')).toBe('probe');
  });

  it('is refused where there is nothing, and with what it takes where the method is another', () => {
    expect(nameAt('POST', '/v1/nothing')).toBe('route_not_found');
    expect(nameAt('POST', '/')).toBe('route_not_found');
    expect(nameAt('GET', '/v1/chat/completions')).toBe('method_not_allowed It takes POST, not GET.');
    expect(nameAt('POST', '/v1/models/x')).toBe('method_not_allowed It takes GET, not POST.');
  });

  it('may name an upstream, which is then asked for what a wire knows and for what none does', () => {
    expect(nameAt('POST', '/u/azure-eu/v1/chat/completions')).toBe('azure-eu: openai-chat');
    expect(getMatch('POST', '/u/azure-eu/v1/chat/completions').path).toBe('/v1/chat/completions');
    expect(nameAt('GET', '/u/azure-eu/v1/models')).toBe('azure-eu: unknown');
    expect(nameAt('DELETE', '/u/azure-eu/v1/vector_stores/v-1')).toBe('azure-eu: unknown');
    expect(nameAt('GET', '/u/azure-eu')).toBe('route_not_found');
  });

  it.each([
    '/u/a/v1/files/file-1/',
    '/u/a/v1//files/file-1',
    '/u/a/v1/%66iles/file-1',
    '/u/a/v1/files%2Ffile-1',
    '/u/a/V1/Files/file-1',
    '/u/a/v1/files;x/file-1',
    '/u/a/files/file-1',
    '/u/a/openai/files/file-1',
    '/u/a/openai/responses/resp_1',
    '/u/a/v1/chat/completions/',
  ])('is nothing that no wire knows only because it is spelled another way: %s', (path) => {
    expect(nameAt('DELETE', path)).toBe('route_not_found');
  });

  it.each(['/u/a/v1/../admin', '/u/a/%2e%2E/admin', '/u/a/v1/.', '/v1/models/../x'])(
    'does not lead out of an upstream: %s',
    (path) => {
      expect(nameAt('GET', path)).toBe('route_not_found');
    },
  );
});

describe('a pattern', () => {
  it('takes names that are a part of a segment, and gives them back another value', () => {
    const pattern = pathPattern('/v1beta/models/{model}:generateContent');
    expect(pattern.match('/v1beta/models/gemini-2.5:generateContent')).toEqual({ model: 'gemini-2.5' });
    expect(pattern.match('/v1beta/models/a:b:generateContent')).toEqual({ model: 'a:b' });
    expect(pattern.match('/v1beta/models/a/b:generateContent')).toBeUndefined();
    expect(pattern.match('/v1beta/models/a:generateContentX')).toBeUndefined();
    expect(pattern.fill({ model: 'other' })).toBe('/v1beta/models/other:generateContent');
    expect([hasNames(pattern.text), hasNames('/v1/models')]).toEqual([true, false]);
  });

  it('takes slashes where it says so, and a dot as a dot', () => {
    expect(pathPattern('/{rest+}').match('/a/b')).toEqual({ rest: 'a/b' });
    expect(pathPattern('/a.b/{x}').match('/aXb/1')).toBeUndefined();
    expect(pathPattern('/p/{a}/l/{b}').match('/p/1/l/2')).toEqual({ a: '1', b: '2' });
  });
});

describe('a call without a wire', () => {
  it('is answered in the words of its path, else in those of its client, else in the most usual ones', () => {
    const of = (path: string, headers: Record<string, string> = {}) => dialectOfCall({ path, headers });
    expect(of('/v1/messages/nothing')).toBe(anthropicDialect);
    expect(of('/u/main/v1/messages/x')).toBe(anthropicDialect);
    expect(of('/v1/models', { 'anthropic-version': '2023-06-01' })).toBe(anthropicDialect);
    expect(of('/v1/models')).toBe(openaiDialect);
    expect(of('/nothing')).toBe(openaiDialect);
  });
});
