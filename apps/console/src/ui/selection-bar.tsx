import type { Microvm } from '#protocol';
import { plural } from '../model/format';
import { MICROVM_ACTIONS, MICROVM_VERBS, allows } from '../model/microvm-actions';
import { useConsole } from './console-context';

/** Commands for all that are selected; each goes to those it means something to. */
export function SelectionBar({ microvms, onClear }: { microvms: readonly Microvm[]; onClear(): void }) {
  const { command } = useConsole();
  return (
    <div class="selection" role="toolbar" aria-label="Selected microVMs">
      <strong>{plural(microvms.length, 'microVM')} selected</strong>
      {MICROVM_VERBS.map((verb) => {
        const able = microvms.filter((microvm) => allows(microvm.state, verb));
        return (
          <button
            key={verb}
            type="button"
            class={MICROVM_ACTIONS[verb].confirm ? 'small danger' : 'small'}
            disabled={able.length === 0}
            onClick={() => void command(able, verb)}
          >
            {MICROVM_ACTIONS[verb].label} {able.length > 0 && able.length < microvms.length ? able.length : ''}
          </button>
        );
      })}
      <button type="button" class="small quiet" onClick={onClear}>
        Clear
      </button>
    </div>
  );
}
