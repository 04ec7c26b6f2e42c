import { Fault } from '#core/fault.ts';
import type { Flight } from '../flight.ts';
import type { Observer } from '../observer.ts';
import type { ErrorAnswer } from '../wire/dialect.ts';
import type { Talk, Turn } from '../wire/socket-wire.ts';
import type { Wire } from '../wire/wire.ts';
import type { NotHeld } from './books.ts';
import type { Frame } from './socket.ts';

export interface TellerParts {
  readonly flight: Flight;
  readonly wire: Wire;
  readonly talk: Talk;
  readonly settings: { readonly budgetStatus402: boolean };
  readonly observer: Observer;
}

/** How the client of a socket is told of what goes wrong. False: its dialect has no words but those of a closing. */
export class Teller {
  readonly #parts: TellerParts;
  readonly #say: (frame: Frame) => void;

  constructor(parts: TellerParts, say: (frame: Frame) => void) {
    this.#parts = parts;
    this.#say = say;
  }

  /** As the answer to a request would be. */
  answerTo({ id, why }: NotHeld): ErrorAnswer {
    const { wire, settings } = this.#parts;
    if (why instanceof Fault) return wire.dialect.fault(why, id);
    return wire.dialect.refusal(why, id, settings.budgetStatus402);
  }

  notHeld(turn: Turn, notHeld: NotHeld): boolean {
    return this.#tell(this.answerTo(notHeld), turn);
  }

  fault(fault: Fault): boolean {
    const { wire, flight, observer } = this.#parts;
    observer.faulted(fault, flight.id);
    return this.#tell(wire.dialect.fault(fault, flight.id), null);
  }

  #tell(answer: ErrorAnswer, turn: Turn | null): boolean {
    const frame = this.#parts.talk.errorFrame(answer, turn);
    if (frame) this.#say(frame);
    return frame !== undefined;
  }
}
