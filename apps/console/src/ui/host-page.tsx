import { useEffect } from 'preact/hooks';
import type { DensityReport, Host } from '#protocol';
import { useFleetVersion, useLoaded, useNow } from '../live/hooks';
import { NOTHING, age, count, instant, mebibytes, percent, ratio } from '../model/format';
import { hostLines } from '../model/host-story';
import { EVERYTHING } from '../model/microvm-query';
import { formatRoute } from '../model/route';
import { DensityChart } from './density-chart';
import { Fact } from './facts';
import { useConsole } from './console-context';
import { MemoryStack } from './memory-stack';
import { HostState } from './state-badge';

/** How far back charts reach, ms. */
const PAST_MS = 3_600_000;
/** How often what is not live is read anew, ms. */
const AGAIN_MS = 15_000;

/** One host: where its memory is, what it promised beside what is used, what its guards do, and how that came about. */
export function HostPage({ id }: { id: string }) {
  const { client, live } = useConsole();
  const { store } = live;
  useFleetVersion(store);
  const host = store.hosts.get(id);
  const report = store.density?.hosts.find(({ hostId }) => hostId === id);
  const turn = Math.floor(useNow() / AGAIN_MS);
  const past = useLoaded(`past ${id} ${turn}`, (signal) => client.hostPast(id, Date.now() - PAST_MS, signal));
  const history = useLoaded(`history ${id} ${turn} ${host?.revision}`, (signal) => client.hostHistory(id, signal));
  useEffect(() => {
    document.title = `${id} · Volley`;
  }, [id]);
  return (
    <main class="one" data-host={id}>
      <div class="one-head">
        <a href={formatRoute({ page: 'fleet', query: EVERYTHING })} aria-label="Back to the fleet">
          ← Fleet
        </a>
        <h1>{id}</h1>
        {host && <HostState state={host.state} />}
        <a href={formatRoute({ page: 'fleet', query: { ...EVERYTHING, host: id } })}>Its microVMs</a>
      </div>
      {!host && store.complete && <p>No host of this name has registered.</p>}
      <div class="one-grid">
        <section class="panel" aria-labelledby="memory-title">
          <h2 id="memory-title">Where its memory is</h2>
          {report?.memory ? <MemoryStack memory={report.memory} /> : <p class="empty">Not measured yet.</p>}
        </section>
        <section class="panel" aria-labelledby="promise-title">
          <h2 id="promise-title">Promise and use</h2>
          {report ? <PromiseAndUse report={report} host={host} /> : <p class="empty">No density report yet.</p>}
        </section>
        <section class="panel" aria-labelledby="guards-title">
          <h2 id="guards-title">Guards</h2>
          {report?.guards ? <Guards guards={report.guards} /> : <p class="empty">It does not tell.</p>}
        </section>
        <section class="panel" aria-labelledby="past-title">
          <h2 id="past-title">Last hour</h2>
          {past.error && <p class="problem">{past.error.message}</p>}
          {past.value && (
            <>
              <DensityChart
                title="Memory"
                history={past.value}
                told={mebibytes}
                figures={[
                  { figure: 'hostUsedMiB', label: 'used on the host' },
                  { figure: 'committedMemoryMiB', label: 'promised' },
                  { figure: 'proportionalMiB', label: 'by microVMs' },
                ]}
              />
              <DensityChart
                title="vCPU wait p99"
                history={past.value}
                told={percent}
                figures={[{ figure: 'vcpuWaitP99Percent', label: 'wait' }]}
              />
            </>
          )}
        </section>
        <section class="panel host-story" aria-labelledby="story-title">
          <h2 id="story-title">What happened</h2>
          {history.error && <p class="problem">{history.error.message}</p>}
          <div class="scroll">
            <table class="dense">
              <tbody>
                {hostLines(history.value ?? []).map(({ at, text, by }, index) => (
                  <tr key={index}>
                    <td>{instant(at)}</td>
                    <td>{text}</td>
                    <td class="muted">{by}</td>
                  </tr>
                ))}
              </tbody>
            </table>
          </div>
        </section>
      </div>
    </main>
  );
}

const BINDING = {
  slots: 'slots',
  vcpus: 'vCPUs it may promise',
  promisedMemory: 'memory it may promise',
  availableMemory: 'memory that is available',
} as const;

function PromiseAndUse({ report, host }: { report: DensityReport; host: Host | undefined }) {
  const { commitment, used, overcommit, headroom, fits, marginalCost, exhaustion, microvmSums } = report;
  const ballooned = microvmSums?.balloonedKiB ?? 0;
  return (
    <dl class="facts">
      <Fact name="Memory promised">
        {mebibytes(commitment.memoryMiB)}{' '}
        <span class="muted">
          {ratio(overcommit.memory)} of {ratio(overcommit.memoryLimit)}
        </span>
      </Fact>
      <Fact name="Memory used by microVMs">{mebibytes(used.memoryMiB)}</Fact>
      <Fact name="Used on the host">{mebibytes(used.hostMemoryMiB)}</Fact>
      <Fact name="vCPUs promised">
        {count(commitment.vcpus)}{' '}
        <span class="muted">
          {ratio(overcommit.cpu)} of {ratio(overcommit.cpuLimit)}
        </span>
      </Fact>
      <Fact name="CPU used">{used.cpuCores.toFixed(2)} cores</Fact>
      <Fact name="vCPU wait p99">{percent(report.vcpuWaitPercent.p99)}</Fact>
      <Fact name="Headroom">
        {mebibytes(headroom.memoryMiB)}, {count(headroom.vcpus)} vCPUs, {count(headroom.slots)} slots
      </Fact>
      <Fact name="Next microVM costs" title="Host memory beyond its own guest pages">
        {marginalCost ? mebibytes(marginalCost.kib / 1024) : NOTHING}
        {marginalCost && marginalCost.errorKiB !== null && (
          <span class="muted"> ± {mebibytes(marginalCost.errorKiB / 1024)}</span>
        )}
      </Fact>
      <Fact name="How many more">
        {fits ? (
          <>
            <strong data-fits={fits.microvms}>{count(fits.microvms)}</strong> more of this shape fit{' '}
            <span class="muted">bound by {BINDING[fits.binding]}</span>
          </>
        ) : (
          NOTHING
        )}
      </Fact>
      <Fact name="Memory used up">
        {exhaustion ? (
          <>
            in {age(exhaustion.seconds * 1000)}{' '}
            <span class="muted">
              ({age(exhaustion.soonestSeconds * 1000)} to {age(exhaustion.latestSeconds * 1000)})
            </span>
          </>
        ) : (
          'no trend'
        )}
      </Fact>
      {ballooned > 0 && (
        <Fact name="Ballooned">
          {mebibytes(ballooned / 1024)}{' '}
          <span class="hint" title="What guests say; it is in no sum here">
            hint by guests
          </span>
        </Fact>
      )}
      <Fact name="Class">
        {host ? `${host.hostClass.name}, by its ${host.hostClass.by}` : NOTHING}
        {report.ratio && <span class="muted"> {report.ratio.why}</span>}
      </Fact>
    </dl>
  );
}

function Guards({ guards }: { guards: NonNullable<DensityReport['guards']> }) {
  const { gates, reclaimed, reading } = guards;
  const { cpuPressure, memoryPressure, vcpuWait, availableMemory, availableMiB, usableMiB } = reading;
  return (
    <dl class="facts">
      {(['guaranteed', 'bestEffort'] as const).map((of) => (
        <Fact key={of} name={of === 'guaranteed' ? 'Guaranteed' : 'Best effort'}>
          <span data-gate={of} class={gates[of].open ? 'tone-good' : 'tone-bad'}>
            admission {gates[of].open ? 'open' : 'shut'}
          </span>{' '}
          since {instant(gates[of].since)}
          {gates[of].reason !== undefined && <span class="reason"> {gates[of].reason}</span>}
        </Fact>
      ))}
      <Fact name="Available memory">
        {percent(availableMemory)}{' '}
        <span class="muted">
          {mebibytes(availableMiB)} of {mebibytes(usableMiB)}
        </span>
      </Fact>
      <Fact name="vCPU wait of the guaranteed">{percent(vcpuWait)}</Fact>
      <Fact name="Pressure">
        CPU {percent(cpuPressure)}, memory {percent(memoryPressure)}
      </Fact>
      <Fact name="Reclaimed since its agent began">
        {count(reclaimed.ballooned)} ballooned, {count(reclaimed.suspended)} suspended, {count(reclaimed.evicted)}{' '}
        evicted
      </Fact>
    </dl>
  );
}
