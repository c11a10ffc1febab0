/** vCPU time of one window on one host. */
export interface WaitWindow {
  /** vCPUs promised, and CPU time that they wanted, as cores. */
  vcpus: number;
  wanted: number;
  /** The part of it that was wanted by microVMs which waited less than the goal allows. */
  compliant: number;
}

export interface ComplianceGoal {
  /** Of vCPU time, percent. */
  timePercent: number;
  confidencePercent: number;
  cpus: number;
  /** No goal leads to more. */
  most: number;
}

export interface DerivedRatio {
  ratio: number;
  /** The most that was wanted of a CPU while the goal was kept; 0: not known to be kept at all. */
  busiest: number;
  /** What a promised vCPU wants of a CPU, but for the rest of the time that the goal leaves out. */
  wantedPerVcpu: number;
  /** How sure it is that the goal is kept up to `busiest`, percent. */
  confidencePercent: number;
  windows: number;
}

/** More than this times what was promised so far is not tried at once: nothing is known of it. */
export const STEP = 1.25;

/**
 * The largest ratio that keeps the goal, by what was seen. Up to which load was it kept? The windows are taken by load, the calm ones
 * first; the load of the last one up to which the lower confidence bound of the compliant share stays at the goal is `busiest`. How
 * much load does a promised vCPU make? The same percentile of wanted / promised. Their quotient is the ratio.
 */
export function derivedRatio(windows: readonly WaitWindow[], goal: ComplianceGoal): DerivedRatio {
  const { timePercent, confidencePercent, cpus, most } = goal;
  const seen = windows.filter(({ vcpus, wanted }) => vcpus > 0 && wanted > 0);
  const byLoad = [...seen].sort((a, b) => a.wanted - b.wanted);
  let busiest = 0;
  let sure = 0;
  let wanted = 0;
  let compliant = 0;
  byLoad.forEach((one, i) => {
    wanted += one.wanted;
    compliant += one.compliant;
    const confidence = confidenceOf(compliant / wanted, i + 1, timePercent / 100);
    if (confidence * 100 < confidencePercent) return;
    busiest = one.wanted / cpus;
    sure = confidence * 100;
  });
  const perVcpu = seen.map((one) => one.wanted / one.vcpus).sort((a, b) => a - b);
  const wantedPerVcpu = perVcpu[Math.max(1, Math.ceil((timePercent / 100) * perVcpu.length)) - 1] ?? 0;
  const tried = Math.max(1, ...seen.map(({ vcpus }) => vcpus / cpus));
  const ratio = busiest > 0 ? Math.min(most, tried * STEP, Math.max(1, busiest / wantedPerVcpu)) : 1;
  return { ratio, busiest, wantedPerVcpu, confidencePercent: sure, windows: seen.length };
}

/**
 * How sure it is that a share is at least `goal` where `n` windows had `share`, 0..1: one-sided, by the score test (Wilson 1927). A few
 * windows without fault prove little of a goal of 99.9 %.
 */
export function confidenceOf(share: number, n: number, goal: number): number {
  if (share <= goal && share < 1) return share < goal ? 0 : 0.5;
  return normalCdf((share - goal) / Math.sqrt((goal * (1 - goal)) / n));
}

/** Of the standard normal distribution; Abramowitz and Stegun 26.2.17, absolute error below 7.5e-8. */
function normalCdf(x: number): number {
  if (x < 0) return 1 - normalCdf(-x);
  const t = 1 / (1 + 0.2316419 * x);
  const series = t * (0.31938153 + t * (-0.356563782 + t * (1.781477937 + t * (-1.821255978 + t * 1.330274429))));
  return 1 - (Math.exp((-x * x) / 2) / Math.sqrt(2 * Math.PI)) * series;
}
