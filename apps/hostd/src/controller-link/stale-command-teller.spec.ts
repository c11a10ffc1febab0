import pino from 'pino';
import { reportStaleCommand } from '#protocol';
import { StaleCommandTeller } from './stale-command-teller';

describe('orders of an epoch that is over', () => {
  it('are told, as many as say something, whether or not somebody hears', async () => {
    let nowMs = 0;
    const told: unknown[] = [];
    const said: string[] = [];
    const teller = new StaleCommandTeller({
      bus: {
        call: (operation: unknown, request: unknown, options: unknown) => {
          expect(operation).toBe(reportStaleCommand);
          told.push([reportStaleCommand.request.parse(request), options]);
          return Promise.reject(new Error('nobody is there'));
        },
      } as never,
      hostId: 'host-a',
      nowMs: () => nowMs,
      log: pino({}, { write: (line: string) => said.push((JSON.parse(line) as { msg: string }).msg) }),
    });
    const microvmId = '01jd0000000000000000000000';
    const order = (commandId: string) => teller.tell({ type: 'pause', commandId, microvmId, epoch: 1 }, 3);
    order('first');
    expect(told).toEqual([
      [{ type: 'pause', commandId: 'first', microvmId, epoch: 1, seenEpoch: 3 }, { values: { hostId: 'host-a' } }],
    ]);
    await new Promise(setImmediate);
    expect(said).toEqual([expect.stringMatching(/no controller heard of it/)]);
    for (let i = 0; i < 100; i++) order(`more-${i}`);
    expect(told).toHaveLength(20);
    expect(said.filter((text) => text.includes('not told'))).toHaveLength(81);
    nowMs += 1_000;
    order('later');
    expect(told).toHaveLength(21);
  });
});
