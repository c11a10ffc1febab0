import type { HostStateName, MicrovmStateName } from '#protocol';
import {
  HOST_STATE_LOOKS,
  MICROVM_STATE_LOOKS,
  UNKNOWN_LOOK,
  type Shape,
  type StateLook,
} from '../model/microvm-states';

/** Drawn in 12 by 12; told apart without colour. */
export function Glyph({ shape }: { shape: Shape }) {
  return (
    <svg class={`glyph glyph-${shape}`} viewBox="0 0 12 12" width="12" height="12" aria-hidden="true">
      {drawing(shape)}
    </svg>
  );
}

function drawing(shape: Shape) {
  const line = { fill: 'none', stroke: 'currentColor', 'stroke-width': 1.8, 'stroke-linecap': 'round' } as const;
  switch (shape) {
    case 'disc':
      return <circle cx="6" cy="6" r="4.5" fill="currentColor" />;
    case 'ring':
      return <circle cx="6" cy="6" r="4" {...line} />;
    case 'bars':
      return <path d="M3 2h2.2v8H3zM6.8 2H9v8H6.8z" fill="currentColor" />;
    case 'square':
      return <rect x="2" y="2" width="8" height="8" rx="1" fill="currentColor" />;
    case 'cross':
      return <path d="M2.5 2.5l7 7M9.5 2.5l-7 7" {...line} stroke-width="2.2" />;
    case 'question':
      return (
        <g {...line} stroke-width="1.6">
          <path d="M3.6 4.1C3.6 2.6 4.6 1.8 6 1.8s2.4.8 2.4 2.1c0 1.6-2.4 1.7-2.4 3.5" />
          <path d="M6 10v.1" stroke-width="2" />
        </g>
      );
    case 'arc':
      return (
        <g {...line}>
          <circle cx="6" cy="6" r="4" opacity="0.3" />
          <path d="M6 2a4 4 0 0 1 4 4" />
        </g>
      );
    case 'lock':
      return (
        <g>
          <rect x="2" y="5.5" width="8" height="5.5" rx="1" fill="currentColor" />
          <path d="M4 5.500V4a2 2 0 0 1 4 0v1.5" {...line} stroke-width="1.4" />
        </g>
      );
    case 'dash':
      return <path d="M2 6h8" {...line} />;
  }
}

export function MicrovmState({ state, class: extra = '' }: { state: MicrovmStateName; class?: string }) {
  return <Badge name={state} look={MICROVM_STATE_LOOKS[state] ?? UNKNOWN_LOOK} extra={extra} />;
}

export function HostState({ state }: { state: HostStateName }) {
  return <Badge name={state} look={HOST_STATE_LOOKS[state] ?? UNKNOWN_LOOK} extra="" />;
}

function Badge({ name, look, extra }: { name: string; look: StateLook; extra: string }) {
  return (
    <span class={`state tone-${look.tone} ${extra}`} title={look.meaning}>
      <Glyph shape={look.shape} />
      {name}
    </span>
  );
}
