export { freePort, isPortFree } from './free-port';
export { tcpReady } from './tcp-ready';
