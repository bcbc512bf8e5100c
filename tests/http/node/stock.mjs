// The stock SDKs with the stock OFREP providers, as anybody would install them; prints what an application sees.
import { OFREPProvider } from '@openfeature/ofrep-provider';
import { OFREPWebProvider } from '@openfeature/ofrep-web-provider';
import { OpenFeature as Server } from '@openfeature/server-sdk';
import { OpenFeature as Web } from '@openfeature/web-sdk';

const { url, key, publicKey } = JSON.parse(process.argv[2]);
const context = { targetingKey: 'node', plan: 'free', visits: 3 };

const headers = [['Authorization', `Bearer ${key}`]];
await Server.setProviderAndWait(new OFREPProvider({ baseUrl: url, headers }));
const server = Server.getClient();
const node = {
  hero: await server.getObjectDetails('hero', {}, context),
  paused: await server.getStringDetails('paused', '', context),
  price: await server.getNumberDetails('price', 0, context),
  nobody: await server.getStringDetails('nobody', 'mine', context),
  missing: await server.getObjectDetails('hero', {}, {}),
  wrong: await server.getObjectDetails('hero', {}, { ...context, visits: 'many' }),
};
await Server.setProviderAndWait(new OFREPProvider({ baseUrl: url, headers: [['Authorization', 'Bearer no']] }));
node.unauthorized = await Server.getClient().getStringDetails('hero', 'mine', context);

const statuses = [];
const fetchImplementation = async (...request) => {
  const answer = await fetch(...request);
  statuses.push(answer.status);
  return answer;
};
const provider = new OFREPWebProvider({
  baseUrl: url, cacheMode: 'disabled', fetchImplementation, pollInterval: 100, headers: [['X-API-Key', publicKey]],
});
await Web.setContext(context);
await Web.setProviderAndWait(provider);
const client = Web.getClient();
const web = { hero: client.getObjectDetails('hero', {}), sketch: client.getStringDetails('sketch', 'mine') };
web.price = client.getNumberDetails('price', 1);
while (statuses.length < 3) await new Promise((resolve) => setTimeout(resolve, 20));
web.again = client.getObjectDetails('hero', {});
await Web.setContext({ ...context, plan: 'paid' });
web.statuses = statuses.slice(0, 3);
web.changed = client.getObjectDetails('hero', {});
await Web.close();
console.log(JSON.stringify({ node, web }));
