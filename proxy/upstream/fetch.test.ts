import { upstreamConformance } from '#test/conformance/upstream.ts';
import { fetchUpstream } from './fetch.ts';

upstreamConformance('fetch', fetchUpstream);
