import { EMPTY } from './bytes.ts';
import { guessTokens, type Meter, type Reading } from './wire.ts';

/** Compressions that runtimes undo by themselves; not every one knows the last. */
const FORMATS: Readonly<Record<string, string>> = {
  gzip: 'gzip',
  'x-gzip': 'gzip',
  deflate: 'deflate',
  br: 'brotli',
};

/** Nobody's answer is longer than this; what is made to look so is not read to its end. */
const DECODED_BYTES_MAX = 1 << 28;

/**
 * An answer that its upstream has compressed although it was asked not to. The client gets its bytes as they are; a copy
 * is decoded on the side, by the runtime, and read by the meter of its format. What cannot be decoded gives a guess by
 * its size, so that it is marked as estimated and not free.
 */
export function decodedMeter(meter: Meter, encoding: string): Meter {
  const decoder = decoderOf(encoding);
  let bytes = 0;
  let decoded = 0;
  let failed = decoder === undefined;
  const writer = decoder?.writable.getWriter();
  const reading = decoder ? readAll(decoder.readable.getReader()) : Promise.resolve();
  // What goes wrong with a chunk is told where the copy is read.
  const fails = (): void => {
    failed = true;
  };

  async function readAll(reader: ReadableStreamDefaultReader<Uint8Array>): Promise<void> {
    try {
      for (let next = await reader.read(); !next.done; next = await reader.read()) {
        decoded += next.value.length;
        if (decoded > DECODED_BYTES_MAX) throw new RangeError('longer than an answer is');
        meter.push(next.value);
      }
    } catch {
      failed = true;
      await reader.cancel().catch(fails);
    }
  }

  return {
    edits: false,
    push(chunk) {
      bytes += chunk.length;
      // Its buffer may be the network's.
      if (!failed) void writer?.write(chunk.slice()).catch(fails);
      return chunk;
    },
    end: () => EMPTY,
    async settle() {
      void writer?.close().catch(fails);
      await reading;
      meter.end();
    },
    read(): Reading {
      const found = meter.read();
      if (!failed || found.usage) return found;
      return { ...found, complete: true, outputTokensGuess: guessTokens(bytes) };
    },
    breakOff: () => undefined,
  };
}

/** Undefined where nobody here can undo it. */
function decoderOf(encoding: string): DecompressionStream | undefined {
  const format = FORMATS[encoding.trim().toLowerCase()];
  if (format === undefined) return undefined;
  try {
    return new DecompressionStream(format as CompressionFormat);
  } catch {
    return undefined;
  }
}
