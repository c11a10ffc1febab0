import { useCallback, useRef, useState } from 'preact/hooks';
import type { Notice } from './console-context';

type Shown = Notice & { key: number };

const DONE_FOR_MS = 6_000;
const KEPT = 5;

export function useNotices(): { notices: Shown[]; notify(notice: Notice): void; dismiss(key: number): void } {
  const [notices, setNotices] = useState<Shown[]>([]);
  const next = useRef(0);
  const dismiss = useCallback((key: number) => setNotices((all) => all.filter((notice) => notice.key !== key)), []);
  const notify = useCallback(
    (notice: Notice) => {
      const key = next.current++;
      setNotices((all) => [...all.slice(1 - KEPT), { ...notice, key }]);
      // Problems stay until somebody has seen them.
      if (notice.kind === 'done') setTimeout(() => dismiss(key), DONE_FOR_MS);
    },
    [dismiss],
  );
  return { notices, notify, dismiss };
}

export function Notices({ notices, onDismiss }: { notices: readonly Shown[]; onDismiss(key: number): void }) {
  return (
    <div class="notices" role="region" aria-label="Notices" aria-live="polite">
      {notices.map((notice) => (
        <div key={notice.key} class={`notice ${notice.kind}`} role={notice.kind === 'problem' ? 'alert' : 'status'}>
          <div>
            <strong>{notice.href ? <a href={notice.href}>{notice.title}</a> : notice.title}</strong>
            {notice.detail && <p>{notice.detail}</p>}
          </div>
          <button type="button" class="quiet" aria-label="Dismiss" onClick={() => onDismiss(notice.key)}>
            ✕
          </button>
        </div>
      ))}
    </div>
  );
}
