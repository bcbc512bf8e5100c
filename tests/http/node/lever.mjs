// Lever's own providers in Node: exposures and events arrive.
import { OpenFeature as Server } from '@openfeature/server-sdk';
import { OpenFeature as Web } from '@openfeature/web-sdk';
import { LeverProvider as ServerProvider } from 'lever-openfeature/server';
import { LeverProvider as WebProvider } from 'lever-openfeature/web';

const { url, key, publicKey } = JSON.parse(process.argv[2]);

const provider = new ServerProvider({ baseUrl: url, key });
await Server.setProviderAndWait(provider);
const server = Server.getClient();
const subject = { targetingKey: 'node-server' };
const shown = await server.getObjectDetails('hero', {}, subject);
await server.getStringDetails('sticky', '', subject);
server.track('revenue', subject, { value: 3.5 });
server.track('click', { targetingKey: 'somebody-else' });
await provider.flush();
const byId = await server.getObjectDetails('hero', {}, { targetingKey: 'by-id' });
server.track('click', {}, { decisionId: byId.flagMetadata.decisionId });
await Server.close();

const web = new WebProvider({ baseUrl: url, key: publicKey, cacheMode: 'disabled' });
await Web.setContext({ targetingKey: 'node-web' });
await Web.setProviderAndWait(web);
const client = Web.getClient();
const seen = client.getObjectDetails('hero', {});
client.getObjectDetails('hero', {}); // read twice, exposed once
client.track('click');
const queued = web.outbox.waiting.length;
await web.flush();
await Web.close();
const decision = (details) => details.flagMetadata.decisionId;
console.log(JSON.stringify({ shown: decision(shown), byId: decision(byId), seen: decision(seen), queued }));
