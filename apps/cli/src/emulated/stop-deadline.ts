/** How long an emulated host may take to finish what it does and power off; then it is ended. */
export const STOP_HOST_MS = 8_000;
