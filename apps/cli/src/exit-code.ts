/** What `volley` exits with; documented in docs/operate.md. */
export const ExitCode = {
  ok: 0,
  /** Anything that went wrong and has no number of its own. */
  failed: 1,
  /** Wrong usage, or something must be installed first. */
  usage: 2,
  /** The control plane is not up, or does not answer. */
  notUp: 3,
  /** No such microVM or host, or more than one matches. */
  notFound: 4,
  /** The control plane refused: the state does not allow it, or there is no room. */
  refused: 5,
  /** The deadline passed; the outcome may still come. */
  timeout: 6,
} as const;
