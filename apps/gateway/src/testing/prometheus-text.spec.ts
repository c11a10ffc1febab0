import { parsePrometheus } from './prometheus-text';

const family = (type: string, name: string, ...samples: string[]): string =>
  [`# HELP ${name} Words.`, `# TYPE ${name} ${type}`, ...samples, ''].join('\n');

it('reads what is right', () => {
  const [one] = parsePrometheus(family('gauge', 'a_bytes', 'a_bytes{host="x\\"y",part="free"} 1.5e3', 'a_bytes 2'));
  expect(one).toMatchObject({
    ...{ name: 'a_bytes', type: 'gauge', help: 'Words.' },
    samples: [
      { labels: { host: 'x\\"y', part: 'free' }, value: 1_500 },
      { labels: {}, value: 2 },
    ],
  });
});

it.each([
  ['no line feed', 'a 1'],
  ['no family', 'a_bytes 1\n'],
  ['no help', '# TYPE a gauge\na 1\n'],
  ['a counter without _total', family('counter', 'a_seconds', 'a_seconds 1')],
  ['a gauge with _total', family('gauge', 'a_total', 'a_total 1')],
  ['milliseconds', family('gauge', 'a_ms', 'a_ms 1')],
  ['percent', family('gauge', 'a_percent', 'a_percent 1')],
  ['the same twice', family('gauge', 'a', 'a{b="1",c="2"} 1', 'a{c="2",b="1"} 1')],
  ['a label twice', family('gauge', 'a', 'a{b="1",b="2"} 1')],
  ['a broken label', family('gauge', 'a', 'a{b=1} 1')],
  ['no number', family('gauge', 'a', 'a one')],
  ['another family', family('gauge', 'a', 'b 1')],
  [
    'buckets that fall',
    family('histogram', 'h', 'h_bucket{le="1"} 3', 'h_bucket{le="+Inf"} 2', 'h_sum 1', 'h_count 2'),
  ],
  ['no +Inf', family('histogram', 'h', 'h_bucket{le="1"} 3', 'h_sum 1', 'h_count 3')],
  ['no sum', family('histogram', 'h', 'h_bucket{le="+Inf"} 3', 'h_count 3')],
])('refuses %s', (_, text) => {
  expect(() => parsePrometheus(text)).toThrow();
});
