import type { IdleStop, MicrovmSample } from '#protocol';
import { IdleWatch, type IdleCandidate } from './idle-watch';

const VM = 'vm';

describe('a microVM that is stopped when it idles', () => {
  let now: number;
  let sessions: number;
  let stopped: string[];
  let candidate: IdleCandidate | undefined;
  let watch: IdleWatch;
  const idleStop: IdleStop = { afterSeconds: 10, cpuPercent: 1 };

  const sample = (cpuCores: number, epoch = 1): MicrovmSample => ({
    id: VM,
    epoch,
    cpuCores,
    ...{ proportionalKiB: 0, privateKiB: 0, overheadKiB: 0, vcpuWaitPercent: 0 },
  });
  /** One sample each second. */
  const seconds = (count: number, cpuCores: number, epoch = 1): void => {
    for (let i = 0; i < count; i++) {
      watch.round([sample(cpuCores, epoch)]);
      now += 1_000;
    }
  };

  beforeEach(() => {
    now = 1_000_000;
    sessions = 0;
    stopped = [];
    candidate = { epoch: 1, idleStop, isServing: true };
    watch = new IdleWatch({
      candidate: () => candidate,
      end: (id, message) => stopped.push(`${id} ${message}`),
      nowMs: () => now,
    });
    watch.countSessionsBy(() => sessions);
  });

  it('is stopped after that time, once, with the reason', () => {
    seconds(10, 0.009);
    expect(stopped).toEqual([]);
    seconds(1, 0.009);
    expect(stopped).toEqual([
      'vm stopped because it had used less than 1 % of a CPU for 10 s and nobody was connected',
    ]);
    candidate!.isServing = false;
    seconds(30, 0);
    expect(stopped).toHaveLength(1);
  });

  it.each<[string, () => void]>([
    ['it works', () => seconds(1, 0.01)],
    [
      'somebody is connected',
      () => {
        sessions = 1;
        seconds(1, 0);
        sessions = 0;
      },
    ],
    ['somebody came for a moment', () => watch.used(VM)],
    [
      'it is paused',
      () => {
        candidate!.isServing = false;
        seconds(60, 0);
        candidate!.isServing = true;
      },
    ],
    [
      'it is another incarnation',
      () => {
        candidate!.epoch = 2;
        seconds(1, 0, 2);
        candidate!.epoch = 1;
      },
    ],
  ])('gets its whole time again when %s', (_, happens) => {
    seconds(9, 0);
    happens();
    seconds(9, 0);
    expect(stopped).toEqual([]);
    seconds(2, 0);
    expect(stopped).toHaveLength(1);
  });

  it('is not judged by a sample of an incarnation before', () => {
    candidate!.epoch = 2;
    seconds(30, 0, 1);
    expect(stopped).toEqual([]);
  });

  it('is left alone without such a policy, and when it is not here', () => {
    candidate!.idleStop = undefined;
    seconds(30, 0);
    candidate = undefined;
    seconds(30, 0);
    expect(stopped).toEqual([]);
  });
});
