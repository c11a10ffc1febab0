import { Dialog } from './dialog';

export interface Question {
  title: string;
  detail: string;
  items: readonly { id: string; label: string; note: string }[];
  yes: string;
  danger: boolean;
  answer(yes: boolean): void;
}

const SHOWN = 12;

export function ConfirmDialog({ question }: { question: Question }) {
  const { title, detail, items, yes, danger, answer } = question;
  return (
    <Dialog title={title} onClose={() => answer(false)}>
      {detail && <p>{detail}</p>}
      {items.length > 1 && (
        <ul class="confirm-items">
          {items.slice(0, SHOWN).map((item) => (
            <li key={item.id}>
              {item.label} <span class="muted">{item.note}</span>
            </li>
          ))}
          {items.length > SHOWN && <li class="muted">and {items.length - SHOWN} more</li>}
        </ul>
      )}
      <div class="dialog-buttons">
        <button type="button" onClick={() => answer(false)} autofocus>
          Cancel
        </button>
        <button type="button" class={danger ? 'danger' : 'primary'} onClick={() => answer(true)}>
          {yes}
        </button>
      </div>
    </Dialog>
  );
}
