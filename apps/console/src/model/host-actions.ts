import type { HostStateName } from '#protocol';
import type { HostVerb } from '../api/client';

/** What an operator may ask of a host in this state. The controller decides; this only spares futile clicks. */
export function hostVerbs(state: HostStateName): readonly HostVerb[] {
  switch (state) {
    case 'ready':
      return ['cordon'];
    case 'cordoned':
      return ['uncordon'];
    case 'draining':
    case 'drained':
      return ['cancelDrain'];
    case 'joining':
      return ['cordon', 'retire'];
    // Whether they are cordoned is not part of the view; both are remembered for their return.
    case 'unreachable':
    case 'lost':
      return ['cordon', 'uncordon', 'retire'];
    default:
      return [];
  }
}
