import { Inject, Injectable } from '@nestjs/common';
import { BusClient } from '#bus';
import { RelayedBlobs } from '#images';
import { readBlob } from '#protocol';
import { HostAgent } from '../host-agent';

/**
 * Joins the host's images to the image service. The agent serves without it: what runs goes on, and images that are in the
 * cache start.
 */
@Injectable()
export class ImageService {
  constructor(@Inject(HostAgent) { hostId, imageCache }: HostAgent, @Inject(BusClient) bus: BusClient) {
    const values = { hostId };
    imageCache.connect(new RelayedBlobs((digest, after) => bus.call(readBlob, { digest, after }, { values })));
  }
}
