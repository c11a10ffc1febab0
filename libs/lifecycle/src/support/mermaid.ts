import type { AnyStateMachine } from 'xstate';

/** Draws a flat machine as a Mermaid `stateDiagram-v2`: one arrow per transition, labelled `event [guard]` or `after delay`. */
export function toMermaid(machine: AnyStateMachine): string {
  const lines = ['stateDiagram-v2', `  [*] --> ${String(machine.config.initial)}`];
  for (const [name, node] of Object.entries(machine.root.states)) {
    if (node.description) lines.push(`  ${name}: ${name}<br/>${node.description}`);
  }
  const seen = new Set<string>();
  const arrow = (from: string, to: string, label: string) => {
    const line = `  ${from} --> ${to}: ${label}`;
    if (!seen.has(line)) lines.push(line);
    seen.add(line);
  };
  for (const [name, node] of Object.entries(machine.root.states)) {
    for (const [eventType, transitions] of node.transitions) {
      for (const transition of transitions) {
        const guard = typeof transition.guard === 'string' ? ` [${transition.guard}]` : '';
        arrow(name, transition.target?.[0]?.key ?? name, `${labelOf(eventType)}${guard}`);
      }
    }
    if (node.type === 'final') lines.push(`  ${name} --> [*]`);
  }
  for (const [eventType, transitions] of machine.root.transitions) {
    for (const transition of transitions) {
      const to = transition.target?.[0]?.key;
      if (to) lines.push(`  note right of ${to}: in every state, ${labelOf(eventType)} leads here`);
    }
  }
  return lines.join('\n') + '\n';
}

function labelOf(eventType: string): string {
  const [prefix, kind, delay] = eventType.split('.');
  return prefix === 'xstate' && kind === 'after' ? `after ${delay}` : eventType;
}
