import type { MicrovmLife } from '#lifecycle';
import type { MicrovmHistories } from '../histories/microvm-histories';
import type { CreateMicrovm } from '../operator/create-microvm';
import { GroupMembers } from './group-members';

describe('members of a group that were never created', () => {
  it('are looked for on record once, until something is heard of them', async () => {
    const read: string[] = [];
    let changed: (life: MicrovmLife) => void = () => undefined;
    const members = new GroupMembers(
      {
        index: { get: () => undefined },
        find: (id: string) => (read.push(id), Promise.resolve(null)),
        listen: (listener: { changed: typeof changed }) => (changed = listener.changed),
      } as unknown as MicrovmHistories,
      {} as CreateMicrovm,
    );
    for (let plans = 0; plans < 3; plans++) {
      for (const id of ['a', 'b']) expect((await members.sighted(id)).state).toBe('unborn');
    }
    expect(read).toEqual(['a', 'b']);
    changed({ id: 'a' } as MicrovmLife);
    await members.sighted('a');
    expect(read).toEqual(['a', 'b', 'a']);
  });
});
