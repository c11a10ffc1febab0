import { existsSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { VmmControlError } from './errors';
import { writeSnapshot, type SnapshotVmm } from './snapshot-writer';

const [RESUME, STAY, LIVE] = [1, 4, 8];

/** Answers as a VMM of before live snapshots does, which knows two flags. */
class OlderVmm implements SnapshotVmm {
  paused = false;
  problem: VmmControlError | undefined;
  readonly heard: string[] = [];

  order(payload: Buffer): Promise<Buffer> {
    const flags = payload.readUInt32LE(0);
    this.heard.push(`snapshot ${flags}`);
    if ((flags & ~3) !== 0) return Promise.reject(new VmmControlError('the VMM refused: EINVAL', 'EINVAL'));
    if (this.problem) return Promise.reject(this.problem);
    if (flags & RESUME) this.paused = false;
    const reply = Buffer.alloc(96);
    [700n, 900n, 5n, 20_480n].forEach((number, at) => reply.writeBigUInt64LE(number, at * 8));
    return Promise.resolve(reply);
  }
  isPaused(): boolean {
    return this.paused;
  }
  pause(): Promise<void> {
    this.heard.push('pause');
    this.paused = true;
    return Promise.resolve();
  }
  resume(): Promise<void> {
    this.heard.push('resume');
    this.paused = false;
    return Promise.resolve();
  }
}

describe('a snapshot of a VMM of an earlier build', () => {
  let folder: string;
  let vmm: OlderVmm;
  beforeEach(() => {
    folder = mkdtempSync(join(tmpdir(), 'volley-snapshot-writer-'));
    vmm = new OlderVmm();
  });
  afterEach(() => rmSync(folder, { recursive: true, force: true }));
  const take = (options: Parameters<typeof writeSnapshot>[1]) => writeSnapshot(folder, options, 'software', vmm);

  it.each([
    { resume: false, ranBefore: true, heard: [`snapshot ${LIVE | STAY}`, 'pause', 'snapshot 0'], runs: false },
    { resume: true, ranBefore: true, heard: [`snapshot ${LIVE | RESUME}`, 'pause', 'snapshot 1'], runs: true },
    { resume: undefined, ranBefore: true, heard: [`snapshot ${LIVE}`, 'pause', 'snapshot 1'], runs: true },
    { resume: undefined, ranBefore: false, heard: [`snapshot ${LIVE}`, 'snapshot 0'], runs: false },
  ])('is taken while the guest stands still (resume: $resume, it ran: $ranBefore)', async (given) => {
    vmm.paused = !given.ranBefore;
    const { resume } = given;
    const report = await take({ live: true, ...(resume === undefined ? {} : { resume }) });
    expect(vmm.heard).toEqual(given.heard);
    expect(vmm.paused).toBe(!given.runs);
    expect(report).toMatchObject({ kind: 'full', totalNs: 900, pages: 5, bytes: 20_480 });
    expect(report.copy).toEqual({
      tracking: 'none',
      converged: true,
      roundBytes: [20_480, 0],
      reason: expect.stringMatching(/earlier build/) as string,
    });
    // From before it was stopped, not what the VMM counts of a guest that stood still already.
    expect(report.pauseNs).not.toBe(700);
    expect(existsSync(join(folder, 'state'))).toBe(true);
  });

  it('needs no reason where nobody asked for a live one', async () => {
    const { copy } = await take({ resume: false });
    expect(copy.reason).toBeUndefined();
    expect(vmm.paused).toBe(true);
  });

  it('that fails leaves the guest as it was, and no snapshot', async () => {
    vmm.problem = new VmmControlError('the VMM refused: no space', 'ENOSPC');
    await expect(take({ live: true, resume: false })).rejects.toThrow('no space');
    expect(vmm.heard.at(-1)).toBe('resume');
    expect(existsSync(join(folder, 'state'))).toBe(false);
    expect(existsSync(join(folder, 'state.new'))).toBe(false);
  });

  it('that is refused for another reason is not tried again', async () => {
    vmm.order = () => Promise.reject(new VmmControlError('another snapshot is being written', 'EBUSY'));
    await expect(take({ live: true })).rejects.toThrow('another');
    expect(vmm.heard).toEqual([]);
  });
});
