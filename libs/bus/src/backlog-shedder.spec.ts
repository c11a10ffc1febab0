import type { InboundWatermark } from '#journal';
import { BacklogShedder } from './backlog-shedder';

describe('BacklogShedder', () => {
  const line = (): InboundWatermark & { lagMs: number; readUntilMs: number } =>
    ({ lagMs: 200, readUntilMs: 1_000 }) as never;
  const door = line();
  const work = line();
  let shedder: BacklogShedder;
  const refused = (requests: number): number =>
    Array.from({ length: requests }, () => shedder.refusal()).filter((one) => one !== undefined).length;

  beforeEach(() => {
    Object.assign(door, line());
    Object.assign(work, line());
    shedder = new BacklogShedder([work, door]);
  });

  it('refuses nothing while messages are read as they come', () => {
    expect(refused(10_000)).toBe(0);
  });

  it.each([
    ['new work', door],
    ['what is under way', work],
  ])('refuses what comes after the first 128 while %s waits to be read', (_, late) => {
    late.lagMs = 2_345.6;
    expect(refused(1_000)).toBe(1_000 - 128);
    expect(shedder.refusal()).toMatchObject({ code: 'overloaded', retryAfterMs: 2_346 });
  });

  it('takes as many again with each sign of progress', () => {
    door.lagMs = 5_000;
    expect(refused(200)).toBe(72);
    door.readUntilMs += 300;
    expect(refused(200)).toBe(72);
    expect(refused(10)).toBe(10);
  });

  it('refuses nothing any more when it has caught up', () => {
    door.lagMs = 5_000;
    expect(refused(200)).toBe(72);
    door.lagMs = 300;
    expect(refused(200)).toBe(0);
  });
});
