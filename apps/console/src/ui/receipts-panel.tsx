import { useState } from 'preact/hooks';
import type { Receipt } from '#protocol';
import { useLoaded } from '../live/hooks';
import { NOTHING, instant, mebibytes, plural } from '../model/format';
import { useConsole } from './console-context';

const ORDER = { chosen: 0, scored: 1, eligible: 2, filtered: 3 } as const;
const SHOWN = 25;

/** Why it was put where it is: the receipt of every placement. */
export function ReceiptsPanel({ id, epoch }: { id: string; epoch: number }) {
  const { client } = useConsole();
  const receipts = useLoaded(`receipts ${id} ${epoch}`, (signal) => client.receipts(id, signal), 300);
  const newestFirst = [...(receipts.value ?? [])].reverse();
  return (
    <section class="panel receipts" aria-labelledby="receipts-title">
      <div class="panel-head">
        <h2 id="receipts-title">Placement</h2>
        <span class="muted">{receipts.value ? plural(newestFirst.length, 'receipt') : ''}</span>
        {receipts.error && (
          <>
            <span class="field-error">{receipts.error.message}</span>
            <button type="button" class="small" onClick={receipts.reload}>
              Try again
            </button>
          </>
        )}
      </div>
      {receipts.value?.length === 0 && <p class="empty">No placement was decided yet.</p>}
      {newestFirst.map((receipt, index) => (
        <details key={receipt.id} open={index === 0} class="receipt">
          <summary>
            <b>{receipt.hostId ?? 'no host'}</b> epoch {receipt.epoch}{' '}
            <span class="muted">
              {instant(receipt.at)} · asked for {receipt.demand.image}, {mebibytes(receipt.demand.memoryMiB)},{' '}
              {receipt.demand.vcpus} vCPU
              {receipt.demand.excluded.length > 0 && ` · not on ${receipt.demand.excluded.join(', ')}`} ·{' '}
              {receipt.reason}
            </span>
          </summary>
          <HostVerdicts receipt={receipt} />
        </details>
      ))}
    </section>
  );
}

function HostVerdicts({ receipt }: { receipt: Receipt }) {
  const [all, setAll] = useState(false);
  const hosts = [...receipt.hosts].sort(
    (a, b) => ORDER[a.verdict] - ORDER[b.verdict] || (b.total ?? 0) - (a.total ?? 0),
  );
  const scores = [...new Set(hosts.flatMap((host) => host.scores.map(({ name }) => name)))];
  if (hosts.length === 0) return <p class="empty">No host was known.</p>;
  return (
    <div class="scroll">
      <table class="dense">
        <thead>
          <tr>
            <th scope="col">Host</th>
            <th scope="col">Verdict</th>
            <th scope="col">Filters</th>
            {scores.map((name) => (
              <th key={name} scope="col" class="number">
                {name}
              </th>
            ))}
            <th scope="col" class="number">
              Total
            </th>
          </tr>
        </thead>
        <tbody>
          {hosts.slice(0, all ? hosts.length : SHOWN).map((host) => (
            <tr key={host.hostId} class={host.verdict === 'chosen' ? 'current' : ''}>
              <th scope="row">{host.hostId}</th>
              <td>{host.verdict === 'chosen' ? <b>✓ chosen</b> : host.verdict}</td>
              <td class="filters-cell">
                {host.filters.map(({ name, passed, detail }) => (
                  <span key={name} class={passed ? 'filter passed' : 'filter refused'} title={detail}>
                    {passed ? '✓' : '✗'} {name}
                    {!passed && `: ${detail}`}
                  </span>
                ))}
              </td>
              {scores.map((name) => {
                const score = host.scores.find((one) => one.name === name);
                return (
                  <td key={name} class="number" title={score ? `weight ${score.weight}` : undefined}>
                    {score ? score.value.toFixed(3) : NOTHING}
                    {score && <span class="muted"> ×{score.weight}</span>}
                  </td>
                );
              })}
              <td class="number">{host.total === null ? NOTHING : host.total.toFixed(3)}</td>
            </tr>
          ))}
        </tbody>
      </table>
      {!all && hosts.length > SHOWN && (
        <button type="button" class="link" onClick={() => setAll(true)}>
          Show all {hosts.length} hosts
        </button>
      )}
      {receipt.omitted > 0 && <p class="muted">and {plural(receipt.omitted, 'more host')}</p>}
    </div>
  );
}
