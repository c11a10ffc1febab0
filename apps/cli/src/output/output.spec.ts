import { age, duration, mebibytes, parseDuration } from './quantities';
import { printable, table } from './table';

it('aligns columns and leaves no blanks behind', () => {
  const rows = [
    { name: 'a', n: 5 },
    { name: 'longer', n: null },
  ];
  expect(
    table(
      [
        { title: 'N', value: (row) => row.n, align: 'right' },
        { title: 'NAME', value: (row) => row.name },
      ],
      rows,
    ),
  ).toBe('N  NAME\n5  a\n-  longer');
});

it('lets no control character of others reach the terminal', () => {
  expect(printable('a\u001b[31mred\nb\u009b')).toBe('a [31mred b ');
});

it.each([
  [0.4215, '0.42 ms'],
  [12.34, '12.3 ms'],
  [999.96, '1000.0 ms'],
  [1_250, '1.25 s'],
  [200_000, '3 min 20 s'],
  [7_500_000, '2 h 5 min'],
  [187_200_000, '2 d 4 h'],
  [-3, '-3.00 ms'],
])('says %f ms as %s', (ms, text) => expect(duration(ms)).toBe(text));

it.each([
  ['500ms', 500],
  ['20s', 20_000],
  ['1.5m', 90_000],
  ['3', 3_000],
  ['soon', undefined],
  ['-1s', undefined],
])('reads %s as a duration', (text, ms) => expect(parseDuration(text)).toBe(ms));

it('says ages and sizes in one unit', () => {
  expect([age(-5), age(59_999), age(60_000), age(7_200_000), age(200_000_000)]).toEqual([
    '0 s',
    '59 s',
    '1 min',
    '2 h',
    '2 d',
  ]);
  expect([mebibytes(0.085), mebibytes(32), mebibytes(20_480)]).toEqual(['0.09 MiB', '32 MiB', '20.0 GiB']);
});
