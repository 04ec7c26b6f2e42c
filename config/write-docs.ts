/** Writes what the documentation takes from the schema: `node config/write-docs.ts`. A test says when it is due. */
import { readFileSync, writeFileSync } from 'node:fs';
import { configJsonSchemaText } from './json-schema.ts';
import { withReference } from './reference.ts';

const docs = new URL('../docs/', import.meta.url);
const configuration = new URL('configuration.md', docs);
writeFileSync(new URL('config.schema.json', docs), configJsonSchemaText());
writeFileSync(configuration, withReference(readFileSync(configuration, 'utf8')));
