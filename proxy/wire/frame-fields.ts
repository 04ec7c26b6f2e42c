import { Fault } from '#core/fault.ts';
import { parseBytes } from './bytes.ts';
import { findMember, keyOf, type Member, membersOf } from './json-span.ts';

/**
 * The members of a message that is a JSON object, found without reading their values: most messages of a socket are
 * sound, of which only the name of their kind matters.
 */
export class FrameFields {
  readonly #bytes: Uint8Array;
  readonly #members: readonly Member[];

  private constructor(bytes: Uint8Array, members: readonly Member[]) {
    this.#bytes = bytes;
    this.#members = members;
  }

  /** Undefined where the message is no JSON object. */
  static find(bytes: Uint8Array): FrameFields | undefined {
    const members = membersOf(bytes);
    return members && new FrameFields(bytes, members);
  }

  /**
   * A message of a client. Of two members of one name two readers may take different ones, so what decides may stand in
   * it once only. Throws `invalid_json` and `invalid_request`.
   */
  static parse(bytes: Uint8Array, decisive: ReadonlySet<string>): FrameFields {
    const fields = FrameFields.find(bytes);
    if (!fields) throw new Fault('invalid_json');
    const seen = new Set<string>();
    for (const member of fields.#members) {
      const key = keyOf(bytes, member);
      if (seen.has(key) && decisive.has(key)) {
        throw new Fault('invalid_request', { detail: `The field '${key}' is given twice.` });
      }
      seen.add(key);
    }
    return fields;
  }

  has(name: string): boolean {
    return findMember(this.#bytes, this.#members, name) !== undefined;
  }

  /** Undefined where there is none, or none that can be read. */
  value(name: string): unknown {
    const member = findMember(this.#bytes, this.#members, name);
    return member && parseBytes(this.#bytes, member.valueStart, member.valueEnd);
  }

  /** The members of a member. Undefined where it is no object. */
  object(name: string): FrameFields | undefined {
    const member = findMember(this.#bytes, this.#members, name);
    const inner = member && membersOf(this.#bytes, member.valueStart, member.valueEnd);
    return inner && new FrameFields(this.#bytes, inner);
  }

  text(name: string): string | null {
    const value = this.value(name);
    return typeof value === 'string' ? value : null;
  }

  /** How long a value is, as it stands there. */
  lengthOf(name: string): number {
    const member = findMember(this.#bytes, this.#members, name);
    return member ? member.valueEnd - member.valueStart : 0;
  }
}
