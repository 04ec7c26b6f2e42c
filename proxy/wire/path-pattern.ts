/**
 * Paths that hold names: `/v1beta/models/{model}:generateContent`. A name stands for a part of one segment, and as
 * `{name+}` for slashes too. Values are as they stand in the path: encoded.
 */
export interface PathPattern {
  readonly text: string;
  /** Undefined when the path is not of this form. */
  match(path: string): Params | undefined;
  /** The path with these values in place of its names. */
  fill(params: Params): string;
}

export type Params = Readonly<Record<string, string>>;

const NAME = /\{(\w+)(\+?)\}/g;

export function pathPattern(text: string): PathPattern {
  // A colon and a dot mean themselves; nothing else of a path is special in a regular expression.
  const source = text.replaceAll('.', '\\.').replace(NAME, (_, name: string, slashes: string) => {
    return slashes === '' ? `(?<${name}>[^/]+?)` : `(?<${name}>.+?)`;
  });
  const expression = new RegExp(`^${source}$`);
  return {
    text,
    match: (path) => expression.exec(path)?.groups,
    fill: (params) => text.replace(NAME, (_, name: string) => params[name] ?? ''),
  };
}

export function hasNames(text: string): boolean {
  return text.includes('{');
}
