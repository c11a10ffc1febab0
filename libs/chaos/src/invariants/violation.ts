/** Something that must never be so, was. `rule` is the name of DESIGN's invariant: S1..S9, L1. */
export interface Violation {
  rule: string;
  subject: string;
  detail: string;
}
