import { ROLES } from '#protocol';
import { AUDIENCES, may, sees } from './access';

describe('what a role may do', () => {
  it('is this, and nothing else', () => {
    const table = AUDIENCES.map((audience) => [
      audience,
      ...ROLES.filter((role) => may({ role, tenant: role === 'operator' ? null : 'acme' }, audience)),
    ]);
    expect(table).toEqual([
      ['view', 'operator', 'tenant-admin', 'tenant-user', 'read-only'],
      ['use', 'operator', 'tenant-admin', 'tenant-user'],
      ['administer', 'operator', 'tenant-admin'],
      ['audit', 'operator', 'tenant-admin'],
      ['fleet', 'operator'],
      ['operator', 'operator'],
    ]);
    const auditor = { role: 'read-only', tenant: null } as const;
    expect(AUDIENCES.filter((audience) => may(auditor, audience))).toEqual(['view', 'audit', 'fleet']);
  });

  it('ends at the tenant', () => {
    expect(sees({ tenant: 'acme' }, 'acme')).toBe(true);
    expect(sees({ tenant: 'acme' }, 'other')).toBe(false);
    expect(sees({ tenant: null }, 'other')).toBe(true);
  });
});
