/** Writes the table of wires: `node proxy/wire/write-docs-file.ts`. A test says when it is due. */
import { readFileSync, writeFileSync } from 'node:fs';
import { withWires } from './reference.ts';

const file = new URL('../../docs/wires.md', import.meta.url);
writeFileSync(file, withWires(readFileSync(file, 'utf8')));
