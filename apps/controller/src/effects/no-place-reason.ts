import type { MicrovmContext } from '#lifecycle';

/** Why there is no place: what placement says, and what the last host said that it was told to leave out. */
export function noPlaceReason(
  placement: string,
  { excluded, reason }: Pick<MicrovmContext, 'excluded' | 'reason'>,
): string {
  const last = excluded.at(-1);
  return last === undefined || reason === null ? placement : `${placement}; ${last} before: ${reason}`;
}
