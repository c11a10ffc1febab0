import { useEffect, useLayoutEffect, useRef, useState } from 'preact/hooks';
import type { Microvm } from '#protocol';
import { navigate, useNow } from '../live/hooks';
import { NOTHING, age, duration, mebibytes } from '../model/format';
import { MICROVM_ACTIONS, allows, rowVerbs } from '../model/microvm-actions';
import type { MicrovmQuery, SortKey } from '../model/microvm-query';
import { formatRoute } from '../model/route';
import { rowWindow, scrollToRow } from '../model/row-window';
import { startLatency } from '../model/start-phases';
import { useConsole } from './console-context';
import { MicrovmState } from './state-badge';

interface Props {
  rows: readonly Microvm[];
  query: MicrovmQuery;
  selected: ReadonlySet<string>;
  onSelect(ids: ReadonlySet<string>): void;
  onSort(sort: SortKey, descending: boolean): void;
  /** False while the first reading is under way. */
  complete: boolean;
  /** True when there is no microVM at all. */
  empty: boolean;
}

/** px; the style sheet draws rows and head as high as this. */
const ROW_HEIGHT = 28;
const HEAD_HEIGHT = 30;

const COLUMNS: readonly { key: SortKey | 'note' | 'actions'; label: string; title: string; class?: string }[] = [
  { key: 'state', label: 'State', title: 'What needs eyes first' },
  { key: 'name', label: 'Name', title: 'Name' },
  { key: 'id', label: 'Id', title: 'Id, in order of creation; its end is enough for the volley command' },
  { key: 'image', label: 'Image', title: 'Image' },
  { key: 'host', label: 'Host', title: 'Host' },
  { key: 'vcpus', label: 'vCPU', title: 'vCPUs', class: 'number' },
  { key: 'memory', label: 'Memory', title: 'Memory promised to the guest', class: 'number' },
  { key: 'age', label: 'Age', title: 'Time since it was created', class: 'number' },
  { key: 'start', label: 'Start', title: 'Latest start: from the request to the record of running', class: 'number' },
  { key: 'note', label: 'Note', title: 'Reason of its state, else its labels' },
  { key: 'actions', label: 'Actions', title: '' },
];

/** A table of any length of which only the rows in view exist in the page. */
export function MicrovmTable({ rows, query, selected, onSelect, onSort, complete, empty }: Props) {
  const scroller = useRef<HTMLDivElement>(null);
  const table = useRef<HTMLTableElement>(null);
  const [scrollTop, setScrollTop] = useState(0);
  const [viewHeight, setViewHeight] = useState(600);
  const [activeId, setActiveId] = useState<string | null>(null);
  const now = useNow();

  useLayoutEffect(() => {
    const element = scroller.current!;
    const measure = (): void => setViewHeight(Math.max(ROW_HEIGHT, element.clientHeight - HEAD_HEIGHT));
    measure();
    const observer = new ResizeObserver(measure);
    observer.observe(element);
    return () => observer.disconnect();
  }, []);
  // Another question is answered from its top.
  const asked = `${query.states.join()}|${query.host}|${query.text}|${query.sort}|${query.descending}`;
  useEffect(() => {
    scroller.current!.scrollTop = 0;
  }, [asked]);

  const { first, end, above, below } = rowWindow(rows.length, ROW_HEIGHT, scrollTop, viewHeight);
  const found = activeId === null ? -1 : rows.findIndex((microvm) => microvm.id === activeId);
  const active = rows[found] ?? null;

  const activate = (index: number): void => {
    const row = rows[Math.max(0, Math.min(rows.length - 1, index))];
    if (!row) return;
    setActiveId(row.id);
    const element = scroller.current!;
    element.scrollTop = scrollToRow(rows.indexOf(row), ROW_HEIGHT, element.scrollTop, viewHeight);
  };
  const toggle = (id: string): void => {
    const next = new Set(selected);
    if (!next.delete(id)) next.add(id);
    onSelect(next);
  };
  const onKeyDown = (event: KeyboardEvent): void => {
    if (event.target !== table.current || event.ctrlKey || event.metaKey || event.altKey) return;
    const page = Math.max(1, Math.floor(viewHeight / ROW_HEIGHT) - 1);
    const moves: Record<string, number> = {
      ArrowDown: found + 1,
      ArrowUp: Math.max(0, found - 1),
      PageDown: found + page,
      PageUp: Math.max(0, found - page),
      Home: 0,
      End: rows.length - 1,
    };
    const to = moves[event.key];
    if (to !== undefined) activate(to);
    else if (event.key === 'Enter' && active) navigate({ page: 'microvm', id: active.id, at: null });
    else if (event.key === ' ' && active) toggle(active.id);
    else return;
    event.preventDefault();
  };

  const chosen = rows.length > 0 && rows.every((microvm) => selected.has(microvm.id));
  return (
    <div
      class="scroll rows"
      ref={scroller}
      tabIndex={-1}
      onScroll={(event) => setScrollTop(event.currentTarget.scrollTop)}
    >
      <table
        ref={table}
        class="dense windowed"
        role="grid"
        tabIndex={0}
        aria-labelledby="microvms-title"
        aria-rowcount={rows.length + 1}
        aria-multiselectable="true"
        {...(active && found >= first && found < end ? { 'aria-activedescendant': `row-${active.id}` } : {})}
        onKeyDown={onKeyDown}
        onFocus={(event) =>
          event.target === table.current && !active && rows[first] && activate(Math.round(scrollTop / ROW_HEIGHT))
        }
      >
        <colgroup>
          <col class="col-select" />
          {COLUMNS.map(({ key }) => (
            <col key={key} class={`col-${key}`} />
          ))}
        </colgroup>
        <thead>
          <tr aria-rowindex={1}>
            <th scope="col">
              <input
                type="checkbox"
                aria-label="Select all that are shown"
                checked={chosen}
                onChange={() => onSelect(chosen ? new Set() : new Set(rows.map((microvm) => microvm.id)))}
              />
            </th>
            {COLUMNS.map(({ key, label, title, class: kind = '' }) =>
              key === 'note' || key === 'actions' ? (
                <th key={key} scope="col" title={title}>
                  {label}
                </th>
              ) : (
                <th
                  key={key}
                  scope="col"
                  class={kind}
                  title={title}
                  aria-sort={query.sort === key ? (query.descending ? 'descending' : 'ascending') : 'none'}
                >
                  <button
                    type="button"
                    class="sort"
                    onClick={() => onSort(key, query.sort === key && !query.descending)}
                  >
                    {label}
                    <span aria-hidden="true">{query.sort === key ? (query.descending ? ' ↓' : ' ↑') : ''}</span>
                  </button>
                </th>
              ),
            )}
          </tr>
        </thead>
        <tbody>
          {above > 0 && (
            <tr key="above" class="spacer" aria-hidden="true">
              <td colSpan={12} style={{ height: `${above}px` }} />
            </tr>
          )}
          {rows.slice(first, end).map((microvm, offset) => (
            <Row
              key={microvm.id}
              microvm={microvm}
              index={first + offset}
              now={now}
              selected={selected.has(microvm.id)}
              active={microvm.id === activeId}
              onActivate={() => setActiveId(microvm.id)}
              onToggle={() => toggle(microvm.id)}
            />
          ))}
          {below > 0 && (
            <tr key="below" class="spacer" aria-hidden="true">
              <td colSpan={12} style={{ height: `${below}px` }} />
            </tr>
          )}
        </tbody>
      </table>
      {rows.length === 0 && (
        <p class="empty">{!complete ? 'Reading…' : empty ? <Welcome /> : 'None of the fleet fits this filter.'}</p>
      )}
    </div>
  );
}

function Welcome() {
  const { openCreate } = useConsole();
  return (
    <>
      No microVMs yet.{' '}
      <button type="button" class="link" onClick={openCreate}>
        Create one
      </button>
      , or type <code>./volley run canary</code>.
    </>
  );
}

interface RowProps {
  microvm: Microvm;
  index: number;
  now: number;
  selected: boolean;
  active: boolean;
  onActivate(): void;
  onToggle(): void;
}

function Row({ microvm, index, now, selected, active, onActivate, onToggle }: RowProps) {
  const { busy, command } = useConsole();
  const { id, state, name } = microvm;
  // Only the row at hand is part of the tab order; a thousand others would bury it.
  const tabIndex = active ? 0 : -1;
  return (
    <tr
      id={`row-${id}`}
      data-id={id}
      data-state={state}
      aria-rowindex={index + 2}
      aria-selected={selected}
      class={`${active ? 'active' : ''} ${selected ? 'selected' : ''}`}
      onMouseDown={onActivate}
    >
      <td>
        <input
          type="checkbox"
          tabIndex={tabIndex}
          checked={selected}
          onChange={onToggle}
          aria-label={`Select ${name ?? id}`}
        />
      </td>
      <td>
        <MicrovmState state={state} />
      </td>
      <th scope="row">
        <a href={formatRoute({ page: 'microvm', id, at: null })} tabIndex={tabIndex} title={name ?? id}>
          {name ?? <span class="mono">{id}</span>}
        </a>
      </th>
      <td class="mono muted" title={id}>
        …{id.slice(-8)}
      </td>
      <td title={microvm.image}>{microvm.image}</td>
      <td title={microvm.hostId ?? ''}>{microvm.hostId ?? NOTHING}</td>
      <td class="number">{microvm.vcpus}</td>
      <td class="number">{mebibytes(microvm.memoryMiB)}</td>
      <td class="number" title={microvm.createdAt}>
        {age(now - Date.parse(microvm.createdAt))}
      </td>
      <td class="number">{duration(startLatency(microvm.timings))}</td>
      <Note microvm={microvm} />
      <td class="actions">
        {rowVerbs(state).map((verb) => (
          <button
            key={verb}
            type="button"
            class={`small ${MICROVM_ACTIONS[verb].confirm ? 'danger' : ''}`}
            tabIndex={tabIndex}
            disabled={busy.has(id) || !allows(state, verb)}
            onClick={() => void command([microvm], verb)}
          >
            {MICROVM_ACTIONS[verb].label}
          </button>
        ))}
      </td>
    </tr>
  );
}

function Note({ microvm }: { microvm: Microvm }) {
  if (microvm.reason) {
    return (
      <td class={microvm.state === 'failed' ? 'tone-bad' : ''} title={microvm.reason}>
        {microvm.reason}
      </td>
    );
  }
  const labels = Object.entries(microvm.labels).map(([key, value]) => `${key}=${value}`);
  return (
    <td class="muted" title={labels.join('\n')}>
      {labels.join(' ')}
    </td>
  );
}
