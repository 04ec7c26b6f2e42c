import type { WireEndpoint } from './wire.ts';

/** Versions of the Gemini API whose paths are the same. */
const GEMINI_VERSIONS = ['v1beta', 'v1', 'v1alpha'];
const VERTEX_VERSIONS = ['v1', 'v1beta1'];
/** Behind a project and a region, or behind neither: as Google's SDK asks with a key and as it asks without. */
const VERTEX_PLACES = ['projects/{project}/locations/{location}/', ''];

export function geminiModelPaths(methods: readonly string[]): WireEndpoint[] {
  return GEMINI_VERSIONS.flatMap((version) =>
    methods.map((method): WireEndpoint => ({ method: 'POST', path: `/${version}/models/{model}:${method}` })),
  );
}

export function vertexModelPaths(methods: readonly string[]): WireEndpoint[] {
  return VERTEX_VERSIONS.flatMap((version) =>
    VERTEX_PLACES.flatMap((place) =>
      methods.map(
        (method): WireEndpoint => ({
          method: 'POST',
          path: `/${version}/${place}publishers/google/models/{model}:${method}`,
        }),
      ),
    ),
  );
}

/** What is not below a model. */
export function geminiPaths(method: WireEndpoint['method'], path: string): WireEndpoint[] {
  return GEMINI_VERSIONS.map((version) => ({ method, path: path.replace('{version}', version) }));
}
