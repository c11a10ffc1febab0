export { openDensityJournals, type DensityJournals } from './density-journals';
export { FleetIndex, type MicrovmFilter } from './fleet-index';
export type { FleetChange, FleetView } from './fleet-view';
export {
  openGroupJournal,
  openHostJournal,
  openMicrovmJournal,
  openStoredMicrovms,
  openReceiptJournal,
  type OnUnreadable,
} from './journals';
export { NewerMachineError } from './newer-machine-error';
export { openFleetView, type FleetViewOptions } from './open-fleet-view';
export type { FleetDiff } from './past/fleet-diff';
export { openUsageJournal } from './usage-journal';
export { FleetPast, type PastOptions } from './past/fleet-past';
export { FleetPicture } from './past/fleet-picture';
export { compactExpired } from './retention/compact-expired';
export { RetentionMark } from './retention/retention-mark';
export {
  auditReplay,
  type AuditOptions,
  type ComparedView,
  type Difference,
  type ReplayReport,
} from './replay/audit-replay';
export { inOrderAfter, livingGroups, type AnyLife, type LiveView } from './replay/live-view';
export { NAMED_VIEW, ViewController, type NamedView } from './replay/view.controller';
