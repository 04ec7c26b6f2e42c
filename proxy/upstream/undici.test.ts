import { upstreamConformance } from '#test/conformance/upstream.ts';
import { undiciUpstream } from './undici.ts';

upstreamConformance('undici', undiciUpstream);
