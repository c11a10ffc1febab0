/** Exit code of a supervisor that found its folder held by another. */
export const IN_USE = 75;
