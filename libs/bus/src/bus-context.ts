import { BaseRpcContext } from '@nestjs/microservices';
import type { MsgHdrs } from 'nats';

/** What a handler gets besides the message itself. */
export class BusContext extends BaseRpcContext<[subject: string, headers: MsgHdrs | undefined]> {
  constructor(
    /** The subject the message came on. */
    readonly subject: string,
    readonly headers: MsgHdrs | undefined,
    /** The host id, and whatever else stands in the places of the subject; not what the message says, which anybody may write. */
    readonly values: Readonly<Record<string, string>>,
  ) {
    super([subject, headers]);
  }
}
