import { useEffect, useLayoutEffect, useRef, useState } from 'preact/hooks';
import type { Microvm } from '#protocol';
import { Problem } from '../api/problem';
import { wait } from '../live/live-fleet';
import { EMPTY_LOG, appendLog } from '../model/log-tail';
import { useConsole } from './console-context';

const EVERY_MS = 1_000;
/** A guest at rest writes nothing; it is still asked now and then, because its state may be seen late. */
const RESTING_EVERY_MS = 5_000;
const ACTIVE: readonly Microvm['state'][] = ['starting', 'running', 'pausing', 'resuming', 'moving', 'stopping'];

function whyEmpty({ state, hostId }: Microvm): string {
  if (state === 'deleted') return 'Removed with the microVM.';
  return hostId === null ? 'It has not been placed on a host yet.' : 'Nothing written yet.';
}

/** Its serial console, followed. */
export function LogPanel({ microvm }: { microvm: Microvm }) {
  const { client } = useConsole();
  const { id, state, hostId } = microvm;
  const [log, setLog] = useState(EMPTY_LOG);
  const [problem, setProblem] = useState<string | null>(null);
  const [following, setFollowing] = useState(true);
  const view = useRef<HTMLPreElement>(null);
  const pace = useRef(EVERY_MS);
  const readFrom = useRef(hostId);
  pace.current = ACTIVE.includes(state) ? EVERY_MS : RESTING_EVERY_MS;

  useEffect(() => {
    if (!following || hostId === null || state === 'deleted') return;
    const controller = new AbortController();
    const { signal } = controller;
    void (async () => {
      // Each host counts its own bytes.
      let tail = readFrom.current === hostId ? log : EMPTY_LOG;
      readFrom.current = hostId;
      while (!signal.aborted) {
        if (!document.hidden) {
          try {
            const piece = await client.log(id, tail.since ?? undefined, signal);
            if (signal.aborted) return;
            tail = appendLog(tail, piece);
            setLog(tail);
            setProblem(null);
            // A whole piece came: there is probably more.
            if (piece.text.length >= 32_768) continue;
          } catch (error) {
            if (signal.aborted) return;
            setProblem((error as Error).message);
            // Gone with its host or for good; following it further is of no use until its state changes.
            if (error instanceof Problem && error.status === 404) return;
          }
        }
        await wait(pace.current, signal);
      }
    })();
    return () => controller.abort();
    // Continues where it was; a change of state asks at once.
  }, [client, id, hostId, state, following]);

  const atEnd = useRef(true);
  useLayoutEffect(() => {
    if (atEnd.current && view.current) view.current.scrollTop = view.current.scrollHeight;
  }, [log.text]);

  return (
    <section class="panel log" aria-labelledby="log-title">
      <div class="panel-head">
        <h2 id="log-title">Serial console</h2>
        <label>
          <input type="checkbox" checked={following} onChange={(event) => setFollowing(event.currentTarget.checked)} />{' '}
          follow
        </label>
        {log.cut && <span class="muted">beginning not shown</span>}
        {problem && <span class="field-error">{problem}</span>}
      </div>
      <pre
        ref={view}
        tabIndex={0}
        role="log"
        aria-labelledby="log-title"
        aria-live="off"
        onScroll={(event) => {
          const { scrollTop, scrollHeight, clientHeight } = event.currentTarget;
          atEnd.current = scrollHeight - scrollTop - clientHeight < 24;
        }}
      >
        {log.text || whyEmpty(microvm)}
      </pre>
    </section>
  );
}
