import { useEffect, useMemo, useState } from 'preact/hooks';
import type { HistoryEntry } from '#protocol';
import { clock, duration, instant, parseInstant, plural } from '../model/format';
import { distinctInstants, eventSummary } from '../model/life-story';
import { MicrovmState } from './state-badge';

interface Props {
  entries: readonly HistoryEntry[];
  error: Error | null;
  at: number | null;
  /** How many steps had happened by then, as the gateway says; null while it is read. */
  shownSteps: number | null;
  onGo(at: number | null, replace?: boolean): void;
}

const SHOWN = 200;

/** Every step of its life, and the way to any instant of it. */
export function HistoryPanel({ entries, error, at, shownSteps, onGo }: Props) {
  const [all, setAll] = useState(false);
  const skipped = all ? 0 : Math.max(0, entries.length - SHOWN);
  return (
    <section class="panel history" aria-labelledby="history-title">
      <div class="panel-head">
        <h2 id="history-title">History</h2>
        <span class="muted">{plural(entries.length, 'step')}</span>
        <TimeTravel entries={entries} at={at} shownSteps={shownSteps} onGo={onGo} />
      </div>
      {error && (
        <p class="problem" role="alert">
          {error.message}
        </p>
      )}
      <div class="scroll">
        <table class="dense">
          <thead>
            <tr>
              <th scope="col" class="number">
                #
              </th>
              <th scope="col">Time</th>
              <th scope="col" class="number" title="Since the step before">
                After
              </th>
              <th scope="col">From → to</th>
              <th scope="col">Cause</th>
              <th scope="col">What happened</th>
            </tr>
          </thead>
          <tbody>
            {skipped > 0 && (
              <tr>
                <td colSpan={6}>
                  <button type="button" class="link" onClick={() => setAll(true)}>
                    Show {plural(skipped, 'earlier step')}
                  </button>
                </td>
              </tr>
            )}
            {entries.slice(skipped).map((entry, offset) => (
              <Step
                key={entry.sequence}
                entry={entry}
                number={skipped + offset + 1}
                here={shownSteps === skipped + offset + 1}
                later={shownSteps !== null && skipped + offset >= shownSteps}
                onGo={onGo}
              />
            ))}
          </tbody>
        </table>
      </div>
    </section>
  );
}

interface StepProps {
  entry: HistoryEntry;
  number: number;
  here: boolean;
  later: boolean;
  onGo(at: number): void;
}

function Step({ entry, number, here, later, onGo }: StepProps) {
  const ms = Date.parse(entry.at);
  return (
    <tr
      class={`${here ? 'current' : ''} ${later ? 'later' : ''}`}
      data-to={entry.to}
      title={`sequence ${entry.sequence}, command ${entry.commandId}`}
    >
      <td class="number muted">{number}</td>
      <td>
        <button
          type="button"
          class="link tabular"
          title={`${instant(ms)} (${entry.at}): show it as it was then`}
          onClick={() => onGo(ms + 0.999)}
        >
          {clock(ms)}
        </button>
      </td>
      <td class="number">{duration(entry.latencyMs)}</td>
      <td class="change">
        {entry.from === null ? (
          <span class="muted">born</span>
        ) : entry.from === entry.to ? null : (
          <MicrovmState state={entry.from} />
        )}
        {entry.from !== entry.to && <span class="muted"> → </span>}
        <MicrovmState state={entry.to} />
      </td>
      <td>
        {entry.cause.kind} <span class="muted">{entry.cause.by}</span>
      </td>
      <td class="events">
        {entry.events.map((event, index) => (
          <details key={index}>
            <summary>
              <b>{event.type}</b> <span class="muted">{eventSummary(event)}</span>
            </summary>
            <pre>{JSON.stringify(event, null, 2)}</pre>
          </details>
        ))}
      </td>
    </tr>
  );
}

function TimeTravel({ entries, at, shownSteps, onGo }: Omit<Props, 'error'>) {
  const instants = useMemo(() => distinctInstants(entries), [entries]);
  const [typed, setTyped] = useState('');
  const [wrong, setWrong] = useState(false);
  useEffect(() => {
    setTyped(at === null ? '' : instant(at));
    setWrong(false);
  }, [at]);
  if (instants.length === 0) return null;
  const now = instants.length;
  const position = at === null || shownSteps === null ? now : instants.findLastIndex(({ last }) => last < shownSteps);
  return (
    <form
      class="time-travel"
      aria-label="Time travel"
      onSubmit={(event) => {
        event.preventDefault();
        const to = typed.trim() === '' ? null : parseInstant(typed);
        setWrong(to === null && typed.trim() !== '');
        if (to !== null) onGo(Number.isInteger(to) ? to + 0.999 : to, false);
        else if (typed.trim() === '') onGo(null, false);
      }}
    >
      <input
        type="range"
        min={0}
        max={now}
        value={at === null ? now : Math.max(0, position)}
        aria-label="Step of its life"
        aria-valuetext={at === null ? 'now' : instant(at)}
        onInput={(event) => {
          const index = Number(event.currentTarget.value);
          onGo(index >= now ? null : instants[index]!.at);
        }}
      />
      <input
        class="tabular"
        type="text"
        aria-label="As it was at"
        aria-invalid={wrong}
        placeholder="as it was at: 2026-01-31 03:12"
        title="YYYY-MM-DD HH:MM[:SS[.mmm]] in local time, ISO 8601 with a zone, or ms since 1970"
        value={typed}
        onInput={(event) => setTyped(event.currentTarget.value)}
        spellcheck={false}
      />
      <button type="submit" class="small">
        Go
      </button>
      {wrong && (
        <span class="field-error" role="alert">
          not a time, such as 2026-01-31 03:12:07.250
        </span>
      )}
    </form>
  );
}
