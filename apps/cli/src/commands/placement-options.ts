import type { Command } from 'commander';
import type { PlacementRules } from '#protocol';
import { labelOption, listOption } from './option-types';

/** Options that say where a microVM may be placed. */
export interface PlacementOptions {
  hostLabel?: Record<string, string>;
  affinity?: string[];
  antiAffinity?: string[];
  spread?: string[];
}

export function addPlacementOptions(command: Command): Command {
  return command
    .option('--host-label <key=value>', 'only on hosts with this label; may be repeated', labelOption)
    .option('--affinity <label>', 'only where others with its value of this label are', listOption)
    .option('--anti-affinity <label>', 'not where others with its value of this label are', listOption)
    .option('--spread <label>', 'rather where fewer with its value of this label are', listOption);
}

/** Undefined: nothing was said. */
export function placementOf(options: PlacementOptions): PlacementRules | undefined {
  const { hostLabel: hostLabels, affinity, antiAffinity, spread } = options;
  if (!hostLabels && !affinity && !antiAffinity && !spread) return undefined;
  return { hostLabels, affinity, antiAffinity, spread } as PlacementRules;
}
