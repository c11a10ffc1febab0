import { ImageUnavailableError, type ImageStore } from '../microvms/agent-context';

/** All images are the canary, but for `nope`, which is none, `broken`, whose content is wrong, and `slow`, which never comes. */
export const scriptedImages: ImageStore = {
  names: ['canary'],
  refuses: ({ image }) => (image === 'nope' ? `no image ${image}` : undefined),
  resolve: async ({ image }, signal) => {
    if (image === 'broken') throw new ImageUnavailableError('its content has another digest');
    if (image === 'slow') await new Promise((_, reject) => signal.addEventListener('abort', reject));
    return { kernelPath: '/canary', bootProtocol: 'flat', irqchip: 'split' };
  },
};
