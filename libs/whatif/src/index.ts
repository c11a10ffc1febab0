export type { Claim, Ending, Outcome } from './load/claim';
export { ClaimReader, type ClaimRecord } from './load/claim-reader';
export { Endings } from './load/endings';
export { HostReader, type HostPhase, type HostPlan } from './load/host-plan';
export { claimsIn, type Load } from './load/load';
export { Replay, type ReplayedStay, type ReplayOptions } from './replay/replay';
export { Tally, type ClaimCounts } from './replay/tally';
export { UsageBook } from './usage/usage-book';
export { whatIf } from './what-if';
