import { encodeUtf8, isEqualRange } from './bytes.ts';

/**
 * Where in JSON something is wanted. A path is names with dots, and `[]` for each element of an array, and `*` for
 * every name: `candidates[].content.parts[].text`. Arrays around the root are looked through, so that a list of answers, one answer
 * a line and one answer are all read alike.
 */
export interface Paths {
  readonly root: Node;
}

export interface Node {
  /** Which of the kept paths ends here; -1 for none. */
  kept: number;
  /** A path whose bytes are counted ends here. */
  text: boolean;
  /** And they are generated text, as it is shown. */
  plain: boolean;
  each: Node | null;
  /** Of the names that are not in the list. */
  others: Node | null;
  readonly names: { readonly bytes: Uint8Array; readonly node: Node }[];
}

/**
 * `kept`: told of, by their place in the list. `text`: how many bytes go by in their strings is counted. `others`: as well,
 * of what is generated and is no text, such as calls of tools.
 */
export function pathsOf(kept: readonly string[], text: readonly string[] = [], others: readonly string[] = []): Paths {
  const root = newNode();
  root.each = root;
  kept.forEach((path, i) => {
    nodeAt(root, path).kept = i;
  });
  for (const path of [...text, ...others]) nodeAt(root, path).text = true;
  for (const path of text) nodeAt(root, path).plain = true;
  return { root };
}

function newNode(): Node {
  return { kept: -1, text: false, plain: false, each: null, others: null, names: [] };
}

function nodeAt(root: Node, path: string): Node {
  let node = root;
  for (const step of path.split('.')) {
    if (step === '*') {
      node.others ??= newNode();
      node = node.others;
      continue;
    }
    const bytes = encodeUtf8(step.replace(/\[\]$/, ''));
    let named = node.names.find((one) => isEqualRange(one.bytes, 0, one.bytes.length, bytes));
    if (!named) {
      named = { bytes, node: newNode() };
      node.names.push(named);
    }
    node = named.node;
    if (!step.endsWith('[]')) continue;
    node.each ??= newNode();
    node = node.each;
  }
  return node;
}
