import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { machinesDocument } from './machines-document';

describe('docs/machines.md', () => {
  it('is current (write it anew with `./volley machines --write docs/machines.md`)', () => {
    expect(readFileSync(join(__dirname, '../../../../docs/machines.md'), 'utf8')).toBe(machinesDocument());
  });

  it('shows every way out of running', () => {
    expect(machinesDocument()).toContain('running --> failed: exited [thisIncarnation]');
  });
});
