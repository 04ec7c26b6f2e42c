import { describe, expect, it } from 'vitest';
import { audioSecondsMax, audioSecondsOf } from './audio-duration.ts';

const text = (value: string) => Buffer.from(value, 'latin1');
const u32 = (value: number) => Buffer.from([value >>> 24, (value >>> 16) & 255, (value >>> 8) & 255, value & 255]);
const u32le = (value: number) => u32(value).reverse();

function wav(seconds: number, stated?: number): Buffer {
  const data = Buffer.alloc(seconds * 16_000);
  const format = Buffer.concat([Buffer.from([1, 0, 1, 0]), u32le(8_000), u32le(16_000), Buffer.from([2, 0, 16, 0])]);
  const list = Buffer.concat([text('LIST'), u32le(3), text('abc'), Buffer.alloc(1)]);
  const body = [text('WAVE'), list, text('fmt '), u32le(16), format, text('data'), u32le(stated ?? data.length), data];
  return Buffer.concat([text('RIFF'), u32le(0), ...body]);
}

function flac(seconds: number): Buffer {
  const packed = Buffer.alloc(8);
  packed.writeBigUInt64BE((44_100n << 44n) | (1n << 41n) | (15n << 36n) | BigInt(seconds * 44_100));
  return Buffer.concat([text('fLaC'), Buffer.from([0x80, 0, 0, 34]), Buffer.alloc(10), packed, Buffer.alloc(100)]);
}

function oggPage(samples: bigint, content: Buffer): Buffer {
  const granule = Buffer.alloc(8);
  granule.writeBigUInt64LE(samples);
  return Buffer.concat([text('OggS'), Buffer.from([0, 2]), granule, Buffer.alloc(13), content]);
}

const OPUS_HEAD = Buffer.concat([text('OpusHead'), Buffer.from([1, 1]), Buffer.from([0x38, 0x01])]);
const VORBIS_HEAD = Buffer.concat([text('\x01vorbis'), u32le(0), Buffer.from([1]), u32le(22_050)]);

function mp4(version: 0 | 1): Buffer {
  const times = version === 1 ? [Buffer.alloc(16), u32(1_000), Buffer.alloc(4)] : [Buffer.alloc(8), u32(1_000)];
  const header = Buffer.concat([text('mvhd'), Buffer.from([version, 0, 0, 0]), ...times, u32(12_345)]);
  return Buffer.concat([u32(24), text('ftypM4A '), Buffer.alloc(12), u32(100), text('moov'), u32(96), header]);
}

/** MPEG 1 layer III, 128 kbit/s at 44.1 kHz: 417 bytes and 1,152 samples a frame. */
function mp3(frames: number): Buffer {
  const frame = Buffer.concat([u32(0xfffb9000), Buffer.alloc(413)]);
  const tag = Buffer.concat([text('ID3'), Buffer.from([3, 0, 0, 0, 0, 1, 0]), Buffer.alloc(128, 0xff)]);
  return Buffer.concat([tag, ...Array.from({ length: frames }, () => frame)]);
}

describe('the length of a piece of sound', () => {
  it.each([
    ['WAV', wav(3), 3n],
    ['WAV that was streamed', wav(3, 0xffffffff), 3n],
    ['FLAC', flac(7), 7n],
    ['Ogg with Opus', Buffer.concat([oggPage(0n, OPUS_HEAD), oggPage(48_000n * 4n + 312n, Buffer.alloc(90))]), 4n],
    ['Ogg with Vorbis', Buffer.concat([oggPage(0n, VORBIS_HEAD), oggPage(22_050n * 2n + 1n, Buffer.alloc(90))]), 3n],
    ['M4A', mp4(0), 13n],
    ['M4A of the long kind', mp4(1), 13n],
    ['MP3', mp3(383), 11n],
    ['nothing', Buffer.alloc(0), undefined],
    ['text', text('Water flows, and what flows is measured.'), undefined],
  ])('is read from %s, in seconds begun', (_, bytes, seconds) => {
    expect(audioSecondsOf(bytes)).toBe(seconds);
  });

  it('is at most what the lowest bit rate makes of a file that does not tell', () => {
    expect(audioSecondsMax(Buffer.alloc(6_000))).toBe(8n);
    expect(audioSecondsMax(wav(3))).toBe(3n);
  });

  it('is unknown, and no failure, where a file is cut anywhere', () => {
    for (const whole of [wav(1), flac(1), oggPage(5n, OPUS_HEAD), mp4(0), mp4(1), mp3(2)]) {
      for (let cut = 0; cut < Math.min(whole.length, 400); cut++) audioSecondsOf(whole.subarray(0, cut));
    }
  });
});
