export { AUDIENCES, may, sees, type Audience, type Principal } from './access';
export { AliasKey } from './alias-key';
export { AuditLog, type AuditLogOptions, type AuditNote } from './audit-log';
export { AuditReader, CURSOR_PATTERN, type AuditPage, type AuditQuery } from './audit-reader';
export { HostClassDirectory } from './host-class-directory';
export { excessOf, QuotaLedger, type Demand, type Holding } from './quota-ledger';
export { RateLimits } from './rate-limits';
export { TenantDirectory, type TenantSettings } from './tenant-directory';
export { refusalOf, TokenDirectory, type TokenWish } from './token-directory';
