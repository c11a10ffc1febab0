import { useEffect, useRef, useState } from 'preact/hooks';
import type { MicrovmStateName } from '#protocol';
import { count, plural } from '../model/format';
import { EVERYTHING, showsAll, type MicrovmQuery } from '../model/microvm-query';
import { MICROVM_STATE_LOOKS, MICROVM_STATE_NAMES } from '../model/microvm-states';
import { Glyph } from './state-badge';

interface Props {
  query: MicrovmQuery;
  counts: ReadonlyMap<MicrovmStateName, number>;
  deleted: number;
  shown: number;
  hosts: readonly string[];
  onChange(change: Partial<MicrovmQuery>, replace?: boolean): void;
}

const TYPING_MS = 120;

/** Which microVMs are shown: chips of states, a host, words. */
export function MicrovmFilters({ query, counts, deleted, shown, hosts, onChange }: Props) {
  const { states, host } = query;
  const toggle = (state: MicrovmStateName): void =>
    onChange({ states: states.includes(state) ? states.filter((one) => one !== state) : [...states, state] });
  const offered = MICROVM_STATE_NAMES.filter(
    (state) => counts.get(state) || states.includes(state) || state === 'running' || state === 'deleted',
  );
  return (
    <div class="filters" role="search">
      <SearchField text={query.text} onChange={(text) => onChange({ text }, true)} />
      <label class="hidden" for="host-filter">
        Host
      </label>
      <select
        id="host-filter"
        value={host ?? ''}
        onChange={(event) => onChange({ host: event.currentTarget.value || null })}
      >
        <option value="">all hosts</option>
        {(host !== null && !hosts.includes(host) ? [host, ...hosts] : hosts).map((id) => (
          <option key={id} value={id}>
            {id}
          </option>
        ))}
      </select>
      <div class="chips" role="group" aria-label="States">
        {offered.map((state) => (
          <button
            key={state}
            type="button"
            class={`chip tone-${MICROVM_STATE_LOOKS[state].tone}`}
            aria-pressed={states.includes(state)}
            title={MICROVM_STATE_LOOKS[state].meaning}
            onClick={() => toggle(state)}
          >
            <Glyph shape={MICROVM_STATE_LOOKS[state].shape} />
            {state}
            {state === 'deleted' ? deleted > 0 && <b>{count(deleted)}</b> : <b>{count(counts.get(state) ?? 0)}</b>}
          </button>
        ))}
      </div>
      <span class="grow" />
      <span class="muted" aria-live="polite" data-shown={shown}>
        {plural(shown, 'microVM')}
      </span>
      {!showsAll(query) && (
        <button
          type="button"
          class="small"
          onClick={() => onChange({ ...EVERYTHING, sort: query.sort, descending: query.descending })}
        >
          Show all
        </button>
      )}
    </div>
  );
}

/** Keeps what is typed to itself for a moment, so that a large fleet is not searched for every key. */
function SearchField({ text, onChange }: { text: string; onChange(text: string): void }) {
  const [typed, setTyped] = useState(text);
  const sent = useRef(text);
  useEffect(() => {
    // The address was changed by something else: back, a link, "show all".
    if (text !== sent.current) {
      sent.current = text;
      setTyped(text);
    }
  }, [text]);
  useEffect(() => {
    if (typed === sent.current) return;
    const timer = setTimeout(() => {
      sent.current = typed;
      onChange(typed);
    }, TYPING_MS);
    return () => clearTimeout(timer);
  });
  return (
    <input
      id="search"
      type="search"
      placeholder="name, id, label=value, reason   ( / )"
      aria-label="Search microVMs"
      value={typed}
      onInput={(event) => setTyped(event.currentTarget.value)}
      spellcheck={false}
    />
  );
}
