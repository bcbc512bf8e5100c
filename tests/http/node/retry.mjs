// Lever's providers behind a proxy that refuses for load, as it is told: how often do they ask, and what do they show?
import { createServer } from 'node:http';
import { OpenFeature as Server } from '@openfeature/server-sdk';
import { LeverProvider } from 'lever-openfeature/server';
import { jittered } from './node_modules/lever-openfeature/retry.js';

const { url, key } = JSON.parse(process.argv[2]);
const times = [];
let refusals = []; // status of the next answers; 0 hangs up; none: Lever's
const proxy = createServer(async (request, response) => {
  times.push(performance.now());
  const body = await new Response(request).text();
  if (refusals.length) {
    const status = refusals.shift();
    if (!status) request.socket.destroy();
    else response.writeHead(status).end();
    return;
  }
  const { authorization } = request.headers;
  const headers = { authorization, 'content-type': 'application/json' };
  const answer = await fetch(url + request.url, { method: 'POST', body, headers });
  response.writeHead(answer.status, { 'content-type': 'application/json' }).end(await answer.text());
});
await new Promise((resolve) => proxy.listen(0, '127.0.0.1', resolve));
const baseUrl = `http://127.0.0.1:${proxy.address().port}`;

let domains = 0;
async function fresh() {
  const domain = `d${(domains += 1)}`;
  await Server.setProviderAndWait(domain, new LeverProvider({ baseUrl, key, timeoutMs: 5000 }));
  return Server.getClient(domain);
}
async function asked(client, ...statuses) {
  refusals = statuses;
  const before = times.length;
  const { variant } = await client.getObjectDetails('hero', {}, { targetingKey: 'ann' });
  return { asked: times.length - before, shown: variant !== undefined };
}

const told = { once: {}, jitter: new Set(Array.from({ length: 9 }, () => jittered(20))).size };
for (const status of [0, 429, 503, 500]) told.once[status] = await asked(await fresh(), status);
told.thrice = await asked(await fresh(), 503, 503, 503);
const worn = await fresh(); // its budget is soon spent
told.worn = [];
for (let turn = 0; turn < 10; turn += 1) told.worn.push((await asked(worn, 503, 503, 503)).asked);
refusals = [];
for (let turn = 0; turn < 80; turn += 1) await asked(worn);
told.rested = await asked(worn, 503);
const [first, second] = times.slice(-2);
told.between = second - first;
await Server.close();
proxy.close();
console.log(JSON.stringify(told));
