import { describe, expect, it } from 'vitest';
import { getMatch } from '#proxy/routes.ts';
import type { AnswerHead } from '#proxy/wire/wire.ts';
import { TOKEN, TOKEN_WIRES, type TokenWire } from '#test/scenarios/token-wires.ts';

const TOKENS = 40;

/** A stream of so many tokens before its end, and the meter of a call that is held in parts. */
function play(wire: TokenWire) {
  const path = wire.path.replace(/\?.*/, '');
  const { endpoint, params } = getMatch('POST', path);
  if (endpoint.kind !== 'wire') throw new Error(`${path} is of no wire`);
  const call = { method: 'POST', path, query: '', headers: { 'content-type': 'application/json' } };
  const asked = endpoint.wire.parse(Buffer.from(JSON.stringify(wire.request('Hello', 100))), call, params);
  const answer: AnswerHead = {
    status: 200,
    headers: { 'content-type': wire.contentType },
    hideUsage: false,
    inParts: true,
  };
  const events = [wire.begin, ...Array.from({ length: TOKENS }, (_, i) => wire.token(i + 1))].map((one) =>
    Buffer.from(one),
  );
  const newMeter = () => {
    const meter = endpoint.wire.meter(asked, answer);
    if (!meter.shown) throw new Error('nothing is shown');
    return { meter, shown: meter.shown };
  };
  return { wire: endpoint.wire, asked, bytes: Buffer.concat(events), newMeter };
}

describe('a stream that is held in parts', () => {
  describe.each(Object.entries(TOKEN_WIRES))('%s', (_, of) => {
    const { wire, asked, bytes, newMeter } = play(of);

    it('is one of a model that shows its output', () => {
      expect(wire.showsOutput?.(of.model)).toBe(true);
      expect(asked.hidesOutput ?? false).toBe(false);
    });

    it('has shown no fewer tokens than it says, wherever its bytes are cut', () => {
      for (let cut = 1; cut < bytes.length; cut += 7) {
        const { meter, shown } = newMeter();
        meter.push(bytes.subarray(0, cut));
        const seen = bytes.subarray(0, cut).toString('latin1').split(TOKEN).length - 1;
        // Of an event that is read when it is whole, the last token may be outstanding.
        expect(shown.tokensMax, `at ${cut}`).toBeGreaterThanOrEqual(seen - 1);
        meter.push(bytes.subarray(cut));
        expect(shown.tokensMax).toBeGreaterThanOrEqual(TOKENS);
        expect([TOKEN.repeat(TOKENS), undefined]).toContain(shown.takeText());
      }
    });

    it('can be broken off wherever its events end', () => {
      const { meter, shown } = newMeter();
      for (let at = 0; at < bytes.length; at += 1_000) {
        const chunk = bytes.subarray(at, at + 1_000);
        let start = 0;
        const ends = shown.endsOf(chunk);
        expect(ends.length).toBeGreaterThan(0);
        for (const end of ends) {
          meter.push(chunk.subarray(start, end));
          expect(meter.breakOff('Cut.', 'budget_exhausted')).toBeDefined();
          start = end;
        }
        meter.push(chunk.subarray(start));
      }
    });
  });

  it('is held whole where the request asks for what does not show', () => {
    const hides = (name: keyof typeof TOKEN_WIRES, more: object) => {
      const wire: TokenWire = TOKEN_WIRES[name];
      const request = (text: string, max: number) => ({ ...wire.request(text, max), ...more });
      return play({ ...wire, request }).asked.hidesOutput;
    };
    expect(hides('anthropic-messages', { thinking: { type: 'enabled', budget_tokens: 1_024 } })).toBe(true);
    expect(hides('anthropic-messages', { thinking: { type: 'disabled' } })).toBe(false);
    expect(hides('anthropic-messages', { tools: [{ type: 'web_search_20260318', name: 'web_search' }] })).toBe(true);
    expect(hides('openai-responses', { tools: [{ type: 'web_search' }] })).toBe(true);
    expect(hides('openai-responses', { background: true })).toBe(true);
    expect(hides('openai-completions', { best_of: 3 })).toBe(true);
    expect(hides('gemini-generate', { generationConfig: { thinkingConfig: { thinkingBudget: 100 } } })).toBe(true);
    expect(hides('bedrock-converse', { additionalModelRequestFields: { thinking: {} } })).toBe(true);
    expect(hides('cohere-chat', { documents: ['a'] })).toBe(true);
    expect(hides('ollama-chat', { think: true })).toBe(true);
  });

  it('is held whole where its model may think unseen', () => {
    const shows = (name: keyof typeof TOKEN_WIRES, model: string) => play(TOKEN_WIRES[name]).wire.showsOutput?.(model);
    expect(shows('openai-chat', 'gpt-5')).toBe(false);
    expect(shows('openai-chat', 'o3')).toBe(false);
    expect(shows('anthropic-messages', 'claude-opus-5')).toBe(false);
    expect(shows('anthropic-messages', 'claude-opus-4-6')).toBe(true);
    expect(shows('gemini-generate', 'gemini-3-pro')).toBe(false);
    expect(shows('gemini-generate', 'gemini-2.5-flash-image')).toBe(false);
    expect(shows('bedrock-converse', 'us.deepseek.r1-v1:0')).toBe(false);
    expect(shows('bedrock-converse', 'us.meta.llama3-3-70b-instruct-v1:0')).toBe(true);
    expect(shows('cohere-chat', 'command-a-reasoning-08-2025')).toBe(false);
    expect(shows('ollama-chat', 'deepseek-r1:8b')).toBe(false);
  });
});
