import { useEffect, useState } from 'preact/hooks';

/** Copies where the browser lets it: the clipboard needs a secure origin (HTTPS or localhost). */
export function CopyButton({ text, label }: { text: string; label: string }) {
  const [copied, setCopied] = useState(false);
  useEffect(() => {
    if (!copied) return;
    const timer = setTimeout(() => setCopied(false), 1_500);
    return () => clearTimeout(timer);
  }, [copied]);
  const clipboard = (navigator as { clipboard?: Clipboard }).clipboard;
  if (!clipboard) return null;
  return (
    <button
      type="button"
      class="small quiet"
      onClick={() =>
        void clipboard.writeText(text).then(
          () => setCopied(true),
          () => undefined,
        )
      }
    >
      {copied ? 'Copied' : label}
    </button>
  );
}
