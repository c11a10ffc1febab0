import pino from 'pino';
import { OperationError, type RequestOf, type reportFact } from '#protocol';
import type { OutboxFact } from '../journal/host-record';
import { FactSender } from './fact-sender';

type Report = RequestOf<typeof reportFact>;

const fact = (microvmId: string, n: number): OutboxFact => ({
  factId: `${microvmId}-${n}`,
  microvmId,
  at: n,
  fact: { type: 'erased', hostId: 'h', epoch: n },
});

/** A controller of whom the test decides what it says to each fact. */
function controller(answer: (report: Report, attempt: number) => { recorded: boolean } | Error) {
  const heard: string[] = [];
  const call = async (_: unknown, request: unknown): Promise<never> => {
    const report = request as Report;
    heard.push(report.factId);
    await new Promise(setImmediate);
    const said = answer(report, heard.filter((id) => id === report.factId).length);
    if (said instanceof Error) throw said;
    return said as never;
  };
  return { heard, bus: { call } };
}

async function until(condition: () => boolean): Promise<void> {
  const deadline = performance.now() + 60_000;
  while (!condition()) {
    if (performance.now() > deadline) throw new Error('never');
    await new Promise((resolve) => setTimeout(resolve, 2));
  }
}

describe('facts', () => {
  let sender: FactSender;
  const acked: string[] = [];
  const make = (bus: ReturnType<typeof controller>['bus']) => {
    acked.length = 0;
    const log = pino({ level: 'silent' });
    sender = new FactSender({ bus: bus as never, hostId: 'h', acknowledge: (ids) => void acked.push(...ids), log });
    return sender;
  };
  afterEach(() => sender.stop());

  it('given controllers that do not hear of guards, then facts are told all the same', async () => {
    const { heard, bus } = controller(({ factId }) =>
      factId === 'acts' ? new OperationError('unavailable', 'nobody') : { recorded: true },
    );
    make(bus).send([{ factId: 'acts', acts: [], omitted: 0 }]);
    await until(() => heard.length > 2);
    sender.send([fact('a', 1), fact('a', 2)]);
    await until(() => acked.length === 2);
    expect(acked).toEqual(['a-1', 'a-2']);
  });

  it('are told in order for each microVM, and until they are answered', async () => {
    let refused = 0;
    const { heard, bus } = controller(() => {
      if (refused++ % 2 === 0) return new OperationError(refused % 4 === 1 ? 'timeout' : 'unavailable', 'later');
      return { recorded: true };
    });
    make(bus).send([fact('a', 1), fact('b', 1), fact('a', 2), fact('a', 3), fact('b', 2)]);
    await until(() => acked.length === 5);
    for (const vm of ['a', 'b']) {
      const order = heard.filter((id) => id.startsWith(vm));
      expect(order).toEqual([...order].sort());
    }
    expect(sender.waiting).toBe(0);
  });

  it('are let go when they are stale, or will never be taken', async () => {
    const { bus } = controller(({ factId }) =>
      factId === 'a-1' ? new OperationError('invalid', 'no such thing') : { recorded: factId !== 'a-2' },
    );
    make(bus).send([fact('a', 1), fact('a', 2), fact('a', 3)]);
    await until(() => acked.length === 3);
  });

  it('of one microVM do not wait for those of another that fail', async () => {
    const { bus } = controller(({ microvmId }) =>
      microvmId === 'bad' ? new OperationError('internal', 'oh') : { recorded: true },
    );
    make(bus).send([fact('bad', 1), fact('good', 1), fact('good', 2)]);
    await until(() => acked.includes('good-2'));
    expect(sender.waiting).toBe(1);
  });

  it('are told at once when the controller is back', async () => {
    let away = true;
    const { heard, bus } = controller(() => (away ? new OperationError('unavailable', 'away') : { recorded: true }));
    make(bus).send([fact('a', 1)]);
    await until(() => heard.length >= 4);
    away = false;
    sender.hurry();
    await until(() => acked.length === 1);
  });

  it('are told once, however often they are handed over', async () => {
    const { heard, bus } = controller(() => ({ recorded: true }));
    make(bus).send([fact('a', 1), fact('a', 1), fact('a', 2), fact('a', 2)]);
    await until(() => acked.length === 2);
    expect(heard).toEqual(['a-1', 'a-2']);
  });
});
