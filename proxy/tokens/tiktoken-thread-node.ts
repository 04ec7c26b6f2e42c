import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { parentPort } from 'node:worker_threads';
import { Tiktoken } from 'tiktoken/lite';
import type { Encoding } from './token-counter.ts';

/** The thread of tiktoken-node.ts: loading a vocabulary takes a tenth of a second, and long texts take longer. */
export interface CountQuestion {
  id: number;
  encoding: Encoding;
  text: string;
}

export interface CountAnswer {
  id: number;
  count: number;
}

interface Vocabulary {
  bpe_ranks: string;
  special_tokens: Record<string, number>;
  pat_str: string;
}

const loaded = new Map<Encoding, Tiktoken>();

function encoderOf(encoding: Encoding): Tiktoken {
  let encoder = loaded.get(encoding);
  if (!encoder) {
    const file = createRequire(import.meta.url).resolve(`tiktoken/encoders/${encoding}.json`);
    const { bpe_ranks, special_tokens, pat_str }: Vocabulary = JSON.parse(readFileSync(file, 'utf8'));
    encoder = new Tiktoken(bpe_ranks, special_tokens, pat_str);
    loaded.set(encoding, encoder);
  }
  return encoder;
}

parentPort?.on('message', ({ id, encoding, text }: CountQuestion) => {
  // As ordinary text: what looks like a special token is none in a message.
  const answer: CountAnswer = { id, count: encoderOf(encoding).encode_ordinary(text).length };
  parentPort?.postMessage(answer);
});
