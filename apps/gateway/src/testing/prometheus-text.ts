/** One sample of a scrape. */
export interface PrometheusSample {
  name: string;
  labels: Record<string, string>;
  value: number;
}

/** One metric of a scrape: everything between its HELP and the next one's. */
export interface PrometheusFamily {
  name: string;
  help: string;
  type: 'counter' | 'gauge' | 'histogram' | 'summary';
  samples: PrometheusSample[];
}

const NAME = /^[a-zA-Z_:][a-zA-Z0-9_:]*$/;
const SAMPLE = /^([a-zA-Z_:][a-zA-Z0-9_:]*)(?:\{(.*)\})? (\S+)$/;
const LABEL = /([a-zA-Z_][a-zA-Z0-9_]*)="((?:[^"\\\n]|\\["\\n])*)"(,|$)/y;
/** Units that are no base units, and where they must not be. */
const WRONG_UNIT =
  /_(milliseconds|ms|microseconds|us|nanoseconds|ns|minutes|hours|kib|kb|mib|mb|gib|percent|kilobytes|megabytes)(_total)?$/i;

/**
 * Reads the text format of Prometheus strictly, and by the rules that `promtool check metrics` has.
 *
 * @throws Error that names the line and the rule: malformed text, no HELP or TYPE, a sample apart from its family or told twice, a counter
 * that is not called `_total` (or a gauge that is), a name that is not in base units, a histogram whose buckets do not add up.
 */
export function parsePrometheus(text: string): PrometheusFamily[] {
  const families = new Map<string, PrometheusFamily>();
  let family: PrometheusFamily | undefined;
  let help: { name: string; text: string } | undefined;
  const seen = new Set<string>();
  if (!text.endsWith('\n')) throw new Error('the text does not end with a line feed');
  for (const [index, line] of text.slice(0, -1).split('\n').entries()) {
    const fail = (rule: string): never => {
      throw new Error(`line ${index + 1}: ${rule}: ${line}`);
    };
    if (line === '') continue;
    const comment = /^# (HELP|TYPE) (\S+) (.+)$/.exec(line);
    if (comment) {
      const [, what, name, rest] = comment as unknown as [string, string, string, string];
      if (!NAME.test(name)) fail('not a name');
      if (what === 'HELP') {
        if (families.has(name)) fail('a family twice');
        help = { name, text: rest };
      } else {
        if (help?.name !== name) fail('TYPE without HELP before it');
        if (!['counter', 'gauge', 'histogram', 'summary'].includes(rest)) fail('no type');
        family = { name, help: help!.text, type: rest as PrometheusFamily['type'], samples: [] };
        families.set(name, family);
        if ((family.type === 'counter') !== name.endsWith('_total')) fail('counters, and only they, end in _total');
        if (WRONG_UNIT.test(name)) fail('not in base units');
        if (name.includes(family.type)) fail('a type in a name');
      }
      continue;
    }
    if (line.startsWith('#')) fail('a comment that is neither HELP nor TYPE');
    const match = SAMPLE.exec(line);
    if (!match) return fail('not a sample');
    const [, name, labelText = '', valueText] = match as unknown as [string, string, string | undefined, string];
    const base = family && family.type === 'histogram' ? name.replace(/_(bucket|sum|count)$/, '') : name;
    if (!family || (base !== family.name && !isOfSummary(family, name))) return fail('a sample without its family');
    const value = valueText === '+Inf' ? Infinity : Number(valueText);
    if (Number.isNaN(value) && valueText !== 'NaN') fail('no value');
    const labels = labelsOf(labelText) ?? fail('no labels');
    const key = `${name} ${JSON.stringify(Object.entries(labels).sort())}`;
    if (seen.has(key)) fail('told twice');
    seen.add(key);
    family.samples.push({ name, labels, value });
  }
  for (const one of families.values()) if (one.type === 'histogram') checkHistogram(one);
  return [...families.values()];
}

const isOfSummary = ({ type, name }: PrometheusFamily, sample: string): boolean =>
  type === 'summary' && sample.replace(/_(sum|count)$/, '') === name;

function labelsOf(text: string): Record<string, string> | undefined {
  const labels: Record<string, string> = {};
  LABEL.lastIndex = 0;
  while (LABEL.lastIndex < text.length) {
    const match = LABEL.exec(text);
    if (!match || match[1]! in labels) return undefined;
    labels[match[1]!] = match[2]!;
  }
  return labels;
}

function checkHistogram({ name, samples }: PrometheusFamily): void {
  const series = new Map<string, { le: number; value: number }[]>();
  const counts = new Map<string, number>();
  const sums = new Set<string>();
  for (const { name: sample, labels, value } of samples) {
    const { le, ...rest } = labels;
    const key = JSON.stringify(Object.entries(rest).sort());
    if (sample === `${name}_sum`) sums.add(key);
    else if (sample === `${name}_count`) counts.set(key, value);
    else if (sample === `${name}_bucket` && le !== undefined) {
      series.set(key, [...(series.get(key) ?? []), { le: le === '+Inf' ? Infinity : Number(le), value }]);
    } else throw new Error(`${name}: ${sample} is no part of a histogram`);
  }
  for (const [key, buckets] of series) {
    const rising = buckets.every(
      ({ le, value }, i) => i === 0 || (le > buckets[i - 1]!.le && value >= buckets[i - 1]!.value),
    );
    const last = buckets.at(-1)!;
    if (!rising || last.le !== Infinity || last.value !== counts.get(key) || !sums.has(key))
      throw new Error(`${name}${key}: its buckets do not add up`);
  }
}
