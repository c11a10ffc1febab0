import { useCallback, useEffect, useMemo, useRef } from 'preact/hooks';
import type { HistoryEntry, Microvm } from '#protocol';
import { Problem } from '../api/problem';
import { navigate, useFleetVersion, useLoaded, useNow } from '../live/hooks';
import { MICROVM_ACTIONS, MICROVM_VERBS, allows } from '../model/microvm-actions';
import { formatRoute } from '../model/route';
import { EVERYTHING } from '../model/microvm-query';
import { instant } from '../model/format';
import { CopyButton } from './copy-button';
import { Facts } from './facts';
import { HistoryPanel } from './history-panel';
import { LogPanel } from './log-panel';
import { useConsole } from './console-context';
import { ReceiptsPanel } from './receipts-panel';
import { StateStrip } from './state-strip';
import { MicrovmState } from './state-badge';
import { StartWaterfall } from './start-waterfall';

interface Props {
  id: string;
  /** Shown as it was at this instant; null: as it is. */
  at: number | null;
}

const NO_ENTRIES: readonly HistoryEntry[] = [];

/** Everything that is known of one microVM, now or at an instant of its past. */
export function MicrovmPage({ id, at }: Props) {
  const { client, live } = useConsole();
  const { store } = live;
  useFleetVersion(store);
  const known = store.find(id);
  const now = useNow();

  // Read once even when known: a deep link may come before the lists, and a deleted one is in none of them.
  const read = useLoaded(`microvm ${id}`, async (signal) => store.putMicrovm(await client.microvm(id, signal)));
  const history = useLoaded(
    known || read.error === null ? `history ${id} ${known?.revision ?? ''}` : null,
    (signal) => client.history(id, undefined, signal),
    300,
  );
  const past = useLoaded(
    at === null ? null : `history ${id} at ${at}`,
    (signal) => client.history(id, at!, signal),
    100,
  );

  const entries = history.value?.entries ?? NO_ENTRIES;
  const pastIsHere = at !== null && past.value !== null;
  const shown: Microvm | null = at === null ? (known ?? history.value?.microvm ?? null) : (past.value?.microvm ?? null);
  const shownEntries = pastIsHere ? past.value!.entries : entries;
  const goTo = useCallback(
    (instantMs: number | null, replace = true): void => navigate({ page: 'microvm', id, at: instantMs }, replace),
    [id],
  );

  // A long history is not drawn anew for every change of the fleet.
  const shownSteps = pastIsHere ? shownEntries.length : null;
  const historyPanel = useMemo(
    () => <HistoryPanel entries={entries} error={history.error} at={at} shownSteps={shownSteps} onGo={goTo} />,
    [entries, history.error, at, shownSteps, goTo],
  );

  const title = useRef<HTMLHeadingElement>(null);
  useEffect(() => title.current?.focus({ preventScroll: true }), [id]);
  const name = known?.name ?? history.value?.microvm?.name ?? id;
  useEffect(() => {
    document.title = `${known ? `${known.state} · ` : ''}${name} · Volley`;
  }, [name, known?.state]);

  const back = useMemo(() => formatRoute({ page: 'fleet', query: EVERYTHING }), []);
  if (!known && read.error) {
    const missing = read.error instanceof Problem && read.error.status === 404;
    return (
      <main class="one">
        <p>
          <a href={back}>← Fleet</a>
        </p>
        <h1 tabIndex={-1} ref={title}>
          {missing ? 'No such microVM' : 'It could not be read'}
        </h1>
        <p class="mono">{id}</p>
        <p>{read.error.message}</p>
        {!missing && (
          <button type="button" onClick={read.reload}>
            Try again
          </button>
        )}
      </main>
    );
  }
  return (
    <main class={`one ${at === null ? '' : 'past'}`} data-microvm={id}>
      <div class="one-head">
        <a href={back} aria-label="Back to the fleet">
          ← Fleet
        </a>
        <h1 tabIndex={-1} ref={title}>
          {name}
        </h1>
        {known && <MicrovmState state={known.state} class="large" />}
        <span class="mono muted">{id}</span>
        <CopyButton text={id} label="Copy id" />
        <span class="grow" />
        {known && at === null && <Actions microvm={known} />}
      </div>
      {at !== null && (
        <div class="past-banner" role="status">
          <strong>As it was at {instant(at)}</strong>
          <span class="muted">
            {past.error
              ? past.error.message
              : !pastIsHere
                ? 'reading…'
                : shown === null
                  ? 'it was not born yet'
                  : `step ${shownEntries.length} of ${entries.length || '…'}`}
          </span>
          <button type="button" onClick={() => goTo(null, false)}>
            Back to now
          </button>
        </div>
      )}
      <StateStrip entries={shownEntries} until={at ?? now} />
      <div class="one-grid">
        <section class="panel" aria-labelledby="facts-title">
          <h2 id="facts-title">Facts</h2>
          {shown ? (
            <Facts microvm={shown} now={at ?? now} past={at !== null} />
          ) : (
            <p class="empty">{at === null ? 'Reading…' : 'Nothing yet.'}</p>
          )}
        </section>
        <section class="panel" aria-labelledby="start-title">
          <h2 id="start-title">Latest start</h2>
          {shown ? <StartWaterfall timings={shown.timings} /> : <p class="empty">–</p>}
        </section>
        {at === null && known && <LogPanel microvm={known} />}
        {historyPanel}
        {known && <ReceiptsPanel id={id} epoch={known.epoch} />}
      </div>
    </main>
  );
}

function Actions({ microvm }: { microvm: Microvm }) {
  const { busy, command } = useConsole();
  return (
    <div class="buttons" role="toolbar" aria-label="Actions">
      {MICROVM_VERBS.map((verb) => (
        <button
          key={verb}
          type="button"
          class={MICROVM_ACTIONS[verb].confirm ? 'danger' : ''}
          disabled={busy.has(microvm.id) || !allows(microvm.state, verb)}
          onClick={() => void command([microvm], verb)}
        >
          {MICROVM_ACTIONS[verb].label}
        </button>
      ))}
    </div>
  );
}
