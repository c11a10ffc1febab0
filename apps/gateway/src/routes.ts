import * as audit from './audit/audit.routes';
import * as console from './console/console.routes';
import * as density from './density/density.routes';
import * as events from './events/events.routes';
import * as groups from './groups/groups.routes';
import * as health from './health/health.routes';
import * as hostClasses from './host-classes/host-classes.routes';
import * as hosts from './hosts/hosts.routes';
import type { RouteDefinition } from './http/route';
import * as images from './images/images.routes';
import * as metrics from './metrics/metrics.routes';
import * as microvms from './microvms/microvms.routes';
import * as openapi from './openapi/openapi.routes';
import * as placement from './placement/placement.routes';
import * as past from './past/past.routes';
import * as sessions from './sessions/sessions.routes';
import * as templates from './templates/templates.routes';
import * as tenants from './tenancy/tenants.routes';
import * as tokens from './tenancy/tokens.routes';

/** Every route of the gateway, in the order of the documentation. */
export const ROUTES: readonly RouteDefinition[] = [
  microvms.createRoute,
  microvms.listRoute,
  microvms.getRoute,
  microvms.pauseRoute,
  microvms.resumeRoute,
  microvms.suspendRoute,
  microvms.stopRoute,
  microvms.startRoute,
  microvms.killRoute,
  microvms.protectionRoute,
  microvms.tuneRoute,
  microvms.deleteRoute,
  microvms.historyRoute,
  microvms.placementRoute,
  microvms.logRoute,
  groups.createGroupRoute,
  groups.listGroupsRoute,
  groups.getGroupRoute,
  groups.scaleGroupRoute,
  groups.replaceGroupRoute,
  groups.groupHistoryRoute,
  groups.deleteGroupRoute,
  templates.createTemplateRoute,
  templates.listTemplatesRoute,
  templates.getTemplateRoute,
  templates.setPoolRoute,
  templates.deleteTemplateRoute,
  sessions.runRoute,
  sessions.execRoute,
  sessions.consoleSocketRoute,
  sessions.getFilesRoute,
  sessions.putFilesRoute,
  images.importImageRoute,
  images.imageJobRoute,
  images.uploadRoute,
  images.listImagesRoute,
  images.getImageRoute,
  images.removeImageRoute,
  images.collectImagesRoute,
  hosts.listHostsRoute,
  hosts.getHostRoute,
  hosts.hostHistoryRoute,
  hosts.cordonRoute,
  hosts.uncordonRoute,
  hosts.retireRoute,
  hosts.drainPlanRoute,
  hosts.drainRoute,
  hosts.cancelDrainRoute,
  hosts.assignClassRoute,
  hostClasses.listHostClassesRoute,
  hostClasses.getHostClassRoute,
  hostClasses.putHostClassRoute,
  hostClasses.deleteHostClassRoute,
  placement.dryRunRoute,
  placement.whatIfRoute,
  density.densityRoute,
  density.hostDensityRoute,
  density.tenantDensityRoute,
  density.microvmsDensityRoute,
  density.microvmDensityRoute,
  past.fleetRoute,
  past.fleetDiffRoute,
  past.coresidencyRoute,
  past.retentionRoute,
  events.eventsRoute,
  tenants.listTenantsRoute,
  tenants.getTenantRoute,
  tenants.putTenantRoute,
  tenants.deleteTenantRoute,
  tokens.createTokenRoute,
  tokens.listTokensRoute,
  tokens.revokeTokenRoute,
  tokens.rotateTokenRoute,
  audit.auditRoute,
  health.healthRoute,
  health.readyRoute,
  metrics.metricsRoute,
  openapi.openApiRoute,
  console.consoleRoute,
  console.consoleAssetRoute,
  console.faviconRoute,
];
