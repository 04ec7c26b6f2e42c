import { ceil } from '#core/exact.ts';
import { find, needle } from './bytes.ts';

/**
 * How long a piece of sound is, read from the file itself where no provider says it: whole seconds, begun ones in full.
 * Undefined where the file does not tell. It looks at heads and tables, and walks the frames of MP3 alone.
 */
export function audioSecondsOf(bytes: Uint8Array): bigint | undefined {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  for (const read of [wav, flac, ogg, mp4, mp3]) {
    try {
      const length = read(bytes, view);
      if (length && length.den > 0n) return ceil(length);
    } catch (thrown) {
      // A file that ends where its head says that more comes.
      if (!(thrown instanceof RangeError)) throw thrown;
    }
  }
  return undefined;
}

/** The lowest bit rate in use: no file of so many bytes is longer. */
const BITS_PER_SECOND_MIN = 6_000n;

export function audioSecondsMax(bytes: Uint8Array): bigint {
  return audioSecondsOf(bytes) ?? ceil({ num: BigInt(bytes.length) * 8n, den: BITS_PER_SECOND_MIN });
}

/** Seconds, as a fraction. */
type Length = { num: bigint; den: bigint } | undefined;

function ascii(view: DataView, at: number, length: number): string {
  let text = '';
  for (let i = 0; i < length; i++) text += String.fromCharCode(view.getUint8(at + i));
  return text;
}

function wav(bytes: Uint8Array, view: DataView): Length {
  if (ascii(view, 0, 4) !== 'RIFF' || ascii(view, 8, 4) !== 'WAVE') return undefined;
  let bytesPerSecond = 0;
  for (let at = 12; ; ) {
    const size = view.getUint32(at + 4, true);
    const kind = ascii(view, at, 4);
    if (kind === 'fmt ') bytesPerSecond = view.getUint32(at + 16, true);
    // One that was streamed says that it is as long as can be.
    if (kind === 'data') return { num: BigInt(Math.min(size, bytes.length - at - 8)), den: BigInt(bytesPerSecond) };
    at += 8 + size + (size % 2);
  }
}

function flac(_bytes: Uint8Array, view: DataView): Length {
  if (ascii(view, 0, 4) !== 'fLaC') return undefined;
  // 20 bits of rate, 3 of channels, 5 of depth, 36 of samples.
  const packed = view.getBigUint64(18);
  return { num: packed & 0xfffffffffn, den: packed >> 44n };
}

const OGG_PAGE = needle('OggS');
const OPUS = needle('OpusHead');
const VORBIS = needle('\x01vorbis');
/** A page of Ogg is no longer, so the last one begins within so many bytes of the end. */
const OGG_PAGE_BYTES_MAX = 65_307;
const OPUS_RATE = 48_000n;

/** The last page says which sample it ends with. */
function ogg(bytes: Uint8Array, view: DataView): Length {
  if (ascii(view, 0, 4) !== 'OggS') return undefined;
  let last = 0;
  const from = Math.max(0, bytes.length - OGG_PAGE_BYTES_MAX);
  for (let at = find(bytes, OGG_PAGE, from, bytes.length); at >= 0; at = find(bytes, OGG_PAGE, at + 4, bytes.length)) {
    last = at;
  }
  const samples = view.getBigUint64(last + 6, true);
  const opus = find(bytes, OPUS, 0, Math.min(bytes.length, OGG_PAGE_BYTES_MAX));
  if (opus >= 0) return { num: samples - BigInt(view.getUint16(opus + 10, true)), den: OPUS_RATE };
  const vorbis = find(bytes, VORBIS, 0, Math.min(bytes.length, OGG_PAGE_BYTES_MAX));
  return vorbis < 0 ? undefined : { num: samples, den: BigInt(view.getUint32(vorbis + 12, true)) };
}

const MOVIE_HEADER = needle('mvhd');

/** MP4 and M4A: the movie's header, wherever its box stands. */
function mp4(bytes: Uint8Array, view: DataView): Length {
  if (ascii(view, 4, 4) !== 'ftyp') return undefined;
  const at = find(bytes, MOVIE_HEADER, 0, bytes.length);
  if (at < 0) return undefined;
  return view.getUint8(at + 4) === 1
    ? { num: view.getBigUint64(at + 28), den: BigInt(view.getUint32(at + 24)) }
    : { num: BigInt(view.getUint32(at + 20)), den: BigInt(view.getUint32(at + 16)) };
}

/** In kbit/s, by the four bits of the head; ISO/IEC 11172-3 and 13818-3, layer III. */
const MPEG_1_RATES = [0, 32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320, 0];
const MPEG_2_RATES = [0, 8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160, 0];
const SAMPLE_RATES = [44_100, 48_000, 32_000, 0];
/** Bytes without a frame that are looked over before the file is given up. */
const STRAY_BYTES_MAX = 64 * 1024;

/** Its frames are walked: no head says how long a file with a changing bit rate is. */
function mp3(bytes: Uint8Array, view: DataView): Length {
  let at = 0;
  if (ascii(view, 0, 3) === 'ID3') {
    at = 10 + ((view.getUint8(6) << 21) | (view.getUint8(7) << 14) | (view.getUint8(8) << 7) | view.getUint8(9));
  }
  let samples = 0;
  let rate = 0;
  let stray = 0;
  while (at + 4 <= bytes.length && stray < STRAY_BYTES_MAX) {
    const frame = mp3Frame(view.getUint32(at));
    if (!frame) {
      stray++;
      at++;
      continue;
    }
    samples += frame.samples;
    rate = frame.sampleRate;
    at += frame.bytes;
  }
  return samples === 0 ? undefined : { num: BigInt(samples), den: BigInt(rate) };
}

function mp3Frame(head: number): { bytes: number; samples: number; sampleRate: number } | undefined {
  const version = (head >>> 19) & 3;
  if (head >>> 21 !== 0x7ff || version === 1 || ((head >>> 17) & 3) !== 1) return undefined;
  const isVersion1 = version === 3;
  const kbits = (isVersion1 ? MPEG_1_RATES : MPEG_2_RATES)[(head >>> 12) & 15] ?? 0;
  const sampleRate = (SAMPLE_RATES[(head >>> 10) & 3] ?? 0) >> (isVersion1 ? 0 : version === 2 ? 1 : 2);
  if (kbits === 0 || sampleRate === 0) return undefined;
  const samples = isVersion1 ? 1152 : 576;
  const bytes = Math.floor((samples / 8) * ((kbits * 1000) / sampleRate)) + ((head >>> 9) & 1);
  return { bytes, samples, sampleRate };
}
