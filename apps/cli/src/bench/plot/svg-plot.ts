/** One line of a plot. */
export interface Series {
  name: string;
  points: readonly (readonly [x: number, y: number])[];
}

/** Labels name the unit. Both axes begin at 0. */
export interface Plot {
  title: string;
  x: { label: string };
  y: { label: string };
  series: readonly Series[];
}

const WIDTH = 760;
const HEIGHT = 320;
const MARGIN = { left: 72, right: 24, top: 40, bottom: 56 };
const COLOURS = ['#1f6feb', '#d1242f', '#1a7f37', '#9a6700', '#8250df', '#57606a'];
const TICKS = 6;

/** Plots below each other in one SVG, to be looked at by itself or in a page. */
export function svgOf(plots: readonly Plot[]): string {
  const height = HEIGHT * plots.length;
  const parts = plots.map((plot, index) => `<g transform="translate(0 ${HEIGHT * index})">${plotOf(plot)}</g>`);
  return (
    `<svg xmlns="http://www.w3.org/2000/svg" width="${WIDTH}" height="${height}" viewBox="0 0 ${WIDTH} ${height}" ` +
    `font-family="sans-serif" font-size="12"><rect width="100%" height="100%" fill="#fff"/>${parts.join('')}</svg>\n`
  );
}

function plotOf({ title, x, y, series }: Plot): string {
  const all = series.flatMap(({ points }) => points);
  const xTicks = ticksUpTo(Math.max(0, ...all.map(([value]) => value)));
  const yTicks = ticksUpTo(Math.max(0, ...all.map(([, value]) => value)));
  const [right, bottom] = [WIDTH - MARGIN.right, HEIGHT - MARGIN.bottom];
  const atX = (value: number): string => (MARGIN.left + (value / xTicks.at(-1)!) * (right - MARGIN.left)).toFixed(1);
  const atY = (value: number): string => (bottom - (value / yTicks.at(-1)!) * (bottom - MARGIN.top)).toFixed(1);
  const lines = [
    `<text x="${MARGIN.left}" y="18" font-size="14" font-weight="bold">${escaped(title)}</text>`,
    ...yTicks.map(
      (tick) =>
        `<line x1="${MARGIN.left}" x2="${right}" y1="${atY(tick)}" y2="${atY(tick)}" stroke="#d0d7de"/>` +
        `<text x="${MARGIN.left - 6}" y="${atY(tick)}" dy="4" text-anchor="end">${tick}</text>`,
    ),
    ...xTicks.map((tick) => `<text x="${atX(tick)}" y="${bottom + 18}" text-anchor="middle">${tick}</text>`),
    `<text x="${(MARGIN.left + right) / 2}" y="${bottom + 38}" text-anchor="middle">${escaped(x.label)}</text>`,
    `<text transform="translate(16 ${(MARGIN.top + bottom) / 2}) rotate(-90)" text-anchor="middle">${escaped(y.label)}</text>`,
  ];
  series.forEach(({ name, points }, index) => {
    const colour = COLOURS[index % COLOURS.length]!;
    const path = points.map(([px, py]) => `${atX(px)},${atY(py)}`).join(' ');
    lines.push(
      `<polyline points="${path}" fill="none" stroke="${colour}" stroke-width="1.5"/>`,
      ...points.map(([px, py]) => `<circle cx="${atX(px)}" cy="${atY(py)}" r="2.5" fill="${colour}"/>`),
      `<text x="${right - 4}" y="${MARGIN.top - 6 + 14 * index}" text-anchor="end" fill="${colour}">${escaped(name)}</text>`,
    );
  });
  return lines.join('');
}

/** From 0 to at least `most`, in steps of 1, 2 or 5 times a power of ten. */
export function ticksUpTo(most: number): number[] {
  const range = most > 0 ? most : 1;
  const rough = range / TICKS;
  const power = 10 ** Math.floor(Math.log10(rough));
  const step = power * ([1, 2, 5].find((factor) => factor * power >= rough) ?? 10);
  const count = Math.ceil(range / step - 1e-9);
  return Array.from({ length: count + 1 }, (_, i) => Number((i * step).toPrecision(12)));
}

function escaped(text: string): string {
  return text.replaceAll('&', '&amp;').replaceAll('<', '&lt;').replaceAll('>', '&gt;');
}
