import type { Command } from 'commander';
import { addAuditReplay } from '../past/audit-replay.command';
import { addAuditList } from '../tenants/audit-list.command';

export function addAuditCommand(program: Command): void {
  const audit = program.command('audit').description('who did or tried what, and whether the histories bear it out');
  addAuditList(audit);
  addAuditReplay(audit);
}
