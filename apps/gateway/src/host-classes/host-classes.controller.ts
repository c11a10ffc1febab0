import { Controller, Inject } from '@nestjs/common';
import { OperationError, type HostClass } from '#protocol';
import { HostClassDirectory } from '#tenancy';
import { FLEET, type Fleet } from '../fleet/fleet';
import { Input, Serves, type InputOf } from '../http/route';
import * as routes from './host-classes.routes';
import type { HostClassView } from './host-classes.routes';

/** Host classes over REST. As with tenants, the gateway writes them and everybody concerned holds them by a watch. */
@Controller()
export class HostClassesController {
  constructor(
    @Inject(HostClassDirectory) private readonly classes: HostClassDirectory,
    @Inject(FLEET) private readonly fleet: Fleet,
  ) {}

  @Serves(routes.listHostClassesRoute)
  list(@Input(routes.listHostClassesRoute) _input: unknown): { items: HostClassView[] } {
    return { items: this.classes.list().map((one) => this.#withHosts(one)) };
  }

  @Serves(routes.getHostClassRoute)
  get(@Input(routes.getHostClassRoute) { params }: InputOf<typeof routes.getHostClassRoute>): HostClassView {
    return this.#withHosts(this.#known(params.name));
  }

  @Serves(routes.putHostClassRoute)
  async put(
    @Input(routes.putHostClassRoute) { params, body }: InputOf<typeof routes.putHostClassRoute>,
  ): Promise<HostClassView> {
    return this.#withHosts(await this.classes.put(params.name, body));
  }

  @Serves(routes.deleteHostClassRoute)
  async remove(@Input(routes.deleteHostClassRoute) { params }: InputOf<typeof routes.deleteHostClassRoute>) {
    const { name } = this.#known(params.name);
    const put = this.fleet.hosts().filter(({ hostClass }) => hostClass.name === name && hostClass.by === 'operator');
    if (put.length > 0) {
      const named = put.slice(0, 5).map(({ id }) => id);
      throw new OperationError(
        'conflict',
        `${put.length} hosts were put into the class ${name} (${named.join(', ')}); put them elsewhere first: PUT /v1/hosts/{id}/class`,
      );
    }
    await this.classes.remove(name);
    return { removed: true as const };
  }

  #known(name: string): HostClass {
    const found = this.classes.get(name);
    if (!found)
      throw new OperationError('notFound', `No host class ${name} is on record; GET /v1/host-classes lists them.`);
    return found;
  }

  #withHosts(one: HostClass): HostClassView {
    const hosts = this.fleet.hosts().filter(({ hostClass }) => hostClass.name === one.name);
    return {
      ...one,
      hosts: hosts.map(({ id, state, hostClass, policy }) => ({
        ...{ id, state, by: hostClass.by },
        goesByIt: policy?.hostClass === one.name && policy.revision === one.updatedAt,
      })),
    };
  }
}
