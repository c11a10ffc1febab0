/** What an emulated host is, for somebody who has to decide whether to want one. */
export const EMULATED_MEANS = 'a host in software emulation, ready in half a minute; 10 to 20 times slower';
