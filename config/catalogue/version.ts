import { sha256Hex } from '../hash.ts';
import type { CatalogueFile } from './catalogue-data.ts';

/** Providers whose models are listed, each in a file of its name. */
export const PROVIDER_FILES = [
  'openai',
  'anthropic',
  'google',
  'mistral',
  'deepseek',
  'xai',
  'cohere',
  'groq',
  'together',
  'aws.bedrock',
] as const;

/** The name of this state of the catalogue. Stands in providers.json, so that reading it needs no hash; a test compares. */
export async function catalogueVersion(date: string, files: readonly CatalogueFile[]): Promise<string> {
  return `${date}.${(await sha256Hex(JSON.stringify(files))).slice(0, 8)}`;
}
