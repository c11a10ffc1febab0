import { useEffect, useState } from 'preact/hooks';
import { useNow } from '../live/hooks';
import type { LiveFleet } from '../live/live-fleet';

/** Whether what is shown is live, and when the next try is made if not. */
export function ConnectionBadge({ live }: { live: LiveFleet }) {
  const [state, setState] = useState(live.connection);
  useEffect(() => {
    setState(live.connection);
    return live.onConnection(() => setState(live.connection));
  }, [live]);
  const now = useNow(500);
  if (state.kind === 'ended') return null;
  const seconds = state.kind === 'waiting' ? Math.max(0, Math.ceil((state.retryAt - now) / 1000)) : 0;
  return (
    <div class={`connection ${state.kind}`}>
      <span role="status" data-connection={state.kind}>
        <span class="lamp" aria-hidden="true" />
        {state.kind === 'live' && 'live'}
        {state.kind === 'connecting' && (live.store.complete ? 'reconnecting…' : 'connecting…')}
        {state.kind === 'waiting' && 'reconnecting: what is shown may be old'}
      </span>
      {state.kind === 'waiting' && (
        <>
          <span class="muted" title={state.why}>
            next try {seconds > 0 ? `in ${seconds} s` : 'now'}
          </span>
          <button type="button" class="quiet" onClick={() => live.retryNow()}>
            Try now
          </button>
        </>
      )}
    </div>
  );
}
