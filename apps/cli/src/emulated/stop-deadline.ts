/** How long an emulated host may take to finish what it does and power off, some 2 s on a machine that is not busy; then it is ended. */
export const STOP_HOST_MS = 20_000;
