import type { ComponentChildren } from 'preact';
import type { Microvm } from '#protocol';
import { NOTHING, age, instant, mebibytes } from '../model/format';
import { EVERYTHING } from '../model/microvm-query';
import { formatRoute } from '../model/route';
import { MicrovmState } from './state-badge';

/** `now`: the instant they are told for, `past` when that is not the present. */
export function Facts({ microvm, now, past }: { microvm: Microvm; now: number; past: boolean }) {
  const { exit, labels, hostId } = microvm;
  const created = Date.parse(microvm.createdAt);
  const updated = Date.parse(microvm.updatedAt);
  return (
    <dl class="facts">
      <Fact name="State">
        <MicrovmState state={microvm.state} />
        {microvm.reason && <span class="reason"> {microvm.reason}</span>}
      </Fact>
      {exit && (
        <Fact name="Last exit">
          <strong>{exit.reason}</strong> {exit.message} <span class="muted">at {instant(exit.at)}</span>
        </Fact>
      )}
      <Fact name="Image">{microvm.image}</Fact>
      <Fact name="Size">
        {mebibytes(microvm.memoryMiB)}, {microvm.vcpus} vCPU
      </Fact>
      <Fact name="Host">
        {hostId ? (
          <a href={formatRoute({ page: 'fleet', query: { ...EVERYTHING, host: hostId } })}>{hostId}</a>
        ) : (
          NOTHING
        )}
      </Fact>
      <Fact name="VMM process">{microvm.pid ?? NOTHING}</Fact>
      <Fact name="Placement" title="Epoch: number of the placement">
        epoch {microvm.epoch}
        {microvm.restarts > 0 && `, ${microvm.restarts} restarts`}
      </Fact>
      <Fact name="Created">
        {instant(created)}{' '}
        <span class="muted">
          {age(now - created)} {past ? 'before' : 'ago'}
        </span>
      </Fact>
      <Fact name="Changed">
        {instant(updated)} <span class="muted">revision {microvm.revision}</span>
      </Fact>
      <Fact name="Restart">{microvm.restartPolicy}</Fact>
      <Fact name="On host loss">{microvm.onHostLoss}</Fact>
      {microvm.ttlSeconds !== null && <Fact name="Time to live">{age(microvm.ttlSeconds * 1000)}</Fact>}
      <Fact name="Tenant">{microvm.tenant}</Fact>
      <Fact name="Labels">
        {Object.keys(labels).length === 0
          ? NOTHING
          : Object.entries(labels).map(([key, value]) => (
              <a
                key={key}
                class="label"
                href={formatRoute({ page: 'fleet', query: { ...EVERYTHING, text: `${key}=${value}` } })}
              >
                {key}={value}
              </a>
            ))}
      </Fact>
      <Fact name="Command line">{microvm.cmdline ? <code>{microvm.cmdline}</code> : NOTHING}</Fact>
    </dl>
  );
}

/** One name and what it is, in a list of facts. */
export function Fact({ name, title, children }: { name: string; title?: string; children: ComponentChildren }) {
  return (
    <div>
      <dt title={title}>{name}</dt>
      <dd>{children}</dd>
    </div>
  );
}
