import { table } from '../output/table';
import { VIEWS, type Look, type View } from './top-reader';
import { sorted, type Round, type TopColumn } from './top-views';

/** What the person in front of it has chosen. */
export interface TopState {
  view: View;
  sort: TopColumn<Round<never>>;
  reverse: boolean;
}

export function stateOf(view: View, sort: string = view.sort): TopState | undefined {
  const column = view.columns.find(({ key }) => key === sort);
  return column && { view, sort: column, reverse: false };
}

/** What a key does; undefined: nothing. `quit` ends it. */
export function afterKey(state: TopState, key: string): TopState | 'quit' | undefined {
  if (key === 'q' || key === '\u0003') return 'quit';
  if (key === 'r') return { ...state, reverse: !state.reverse };
  const view = VIEWS.find(({ name }) => name.startsWith(key));
  if (view) return view === state.view ? undefined : stateOf(view);
  const step = key === '>' ? 1 : key === '<' ? -1 : 0;
  if (step === 0) return undefined;
  const { columns } = state.view;
  const next = (columns.indexOf(state.sort) + step + columns.length) % columns.length;
  return { ...state, sort: columns[next]! };
}

/** The rows of a look, in order, with what the look before knew of the same things. */
export function roundsOf({ sort, reverse }: TopState, look: Look, before: Look | undefined): Round<never>[] {
  const seconds = before ? (look.atMs - before.atMs) / 1_000 : 0;
  const rounds = [...look.items].map(([name, now]) => ({ now, before: before?.items.get(name), seconds }));
  return sorted(rounds as Round<never>[], sort, reverse);
}

/** What is shown: a line about what it is, and the table, cut to what fits. */
export function screenOf(
  state: TopState,
  look: Look,
  before: Look | undefined,
  size?: { rows: number; columns: number },
): string {
  const { view, sort, reverse } = state;
  const rounds = roundsOf(state, look, before);
  const told = [
    `${view.name}: ${rounds.length}, by ${sort.key}${reverse ? ' (reverse)' : ''}, ${new Date(look.atMs).toISOString()}`,
    ...(look.remark === undefined ? [] : [look.remark]),
    ...(size ? ['h/t/m hosts, tenants, microVMs   < > sort by   r reverse   q quit'] : []),
  ];
  const shown = size ? rounds.slice(0, Math.max(1, size.rows - told.length - 2)) : rounds;
  const lines = [...told, ...table(view.columns, shown).split('\n')];
  return (size ? lines.map((line) => line.slice(0, size.columns)) : lines).join('\n');
}
