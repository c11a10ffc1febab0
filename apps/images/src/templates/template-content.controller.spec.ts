import type { BusContext } from '#bus';
import type { TemplateContents } from '#images';
import { sortableId, type TemplateRecord, type WorkingSet } from '#protocol';
import { TemplateContentController } from './template-content.controller';
import type { TemplatesOnRecord } from './templates-on-record';

const ID = sortableId(1_700_000_000_000, Buffer.alloc(10, 1));
const DIGEST = `sha256:${'a'.repeat(64)}`;
const MIB = 1 << 20;

describe('working sets that hosts tell', () => {
  const told: object[] = [];
  const contents = {
    putWorkingSet: (_id: string, one: object) => Promise.resolve(void told.push(one)),
    workingSet: (_id: string, digest: string) =>
      Promise.resolve(digest === DIGEST ? { schema: 1, runs: [] } : undefined),
  };
  const record = { hosts: ['host-a'], digest: DIGEST, memoryMiB: 32 } as unknown as TemplateRecord;
  const records = { ready: (id: string) => Promise.resolve(id === ID ? record : undefined) };
  const controller = new TemplateContentController(
    contents as unknown as TemplateContents,
    records as unknown as TemplatesOnRecord,
  );
  const by = (hostId: string) => ({ values: { hostId } }) as unknown as BusContext;
  const endingAt = (bytes: number): WorkingSet => ({ schema: 1, runs: [[bytes - 4_096, 4_096]] });

  it('are taken from who holds the template, where it has that memory, with the digest on record', async () => {
    const workingSet = endingAt(32 * MIB);
    await controller.putWorkingSet({ templateId: ID, workingSet }, by('host-a'));
    expect(told).toEqual([{ digest: DIGEST, workingSet }]);
    const beyond = { templateId: ID, workingSet: endingAt(32 * MIB + 4_096) };
    await expect(controller.putWorkingSet(beyond, by('host-a'))).rejects.toThrow('has 32 MiB of memory');
    await expect(controller.putWorkingSet({ templateId: ID, workingSet }, by('host-b'))).rejects.toThrow(
      'not on record as one that this host holds',
    );
    expect(told).toHaveLength(1);
  });

  it('are told to who can name the digest of the template', async () => {
    expect(await controller.workingSet({ templateId: ID, digest: DIGEST })).toEqual({
      workingSet: { schema: 1, runs: [] },
    });
    const other = DIGEST.replace(/a/g, 'b');
    expect(await controller.workingSet({ templateId: ID, digest: other })).toEqual({ workingSet: null });
  });
});
