import type { HistoryEntry, MicrovmStateName } from '#protocol';
import { duration } from '../model/format';
import { staysOf } from '../model/life-story';
import { MICROVM_STATE_LOOKS } from '../model/microvm-states';
import { Glyph } from './state-badge';

/** The states in the order of a life; branches of one step stand together. */
const STRIP: readonly (readonly MicrovmStateName[])[] = [
  ['requested'],
  ['placing'],
  ['starting'],
  ['running'],
  ['pausing', 'paused', 'resuming'],
  ['snapshotting'],
  ['suspending', 'suspended', 'restoring'],
  ['moving'],
  ['unreachable'],
  ['stopping'],
  ['stopped', 'failed'],
  ['deleting'],
  ['deleted'],
];

/** Where it is in its life, where it has been, and how long it stayed. */
export function StateStrip({ entries, until }: { entries: readonly HistoryEntry[]; until: number }) {
  const stays = staysOf(entries, until);
  return (
    <ol class="strip" aria-label="States of its life">
      {STRIP.map((group) => (
        <li key={group[0]}>
          {group.map((state) => {
            const stay = stays.get(state);
            const { shape, tone, meaning } = MICROVM_STATE_LOOKS[state];
            const been = stay
              ? `${stay.times > 1 ? `${stay.times}× ` : ''}${state === 'deleted' ? '' : duration(stay.totalMs)}`
              : '';
            return (
              <span
                key={state}
                class={`step tone-${tone} ${stay ? 'been' : ''} ${stay?.current ? 'now' : ''}`}
                {...(stay?.current ? { 'aria-current': 'step' as const } : {})}
                title={`${meaning}${stay ? ` Entered ${stay.times} times.` : ' Never entered.'}`}
              >
                <Glyph shape={shape} />
                {state}
                <small>{been || '\u00a0'}</small>
              </span>
            );
          })}
        </li>
      ))}
    </ol>
  );
}
