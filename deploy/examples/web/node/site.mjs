// A site on Node whose hero Lever chooses, asked through OpenFeature.
//
//   npm install && npm start
//
// LEVER_URL is Lever's web port, LEVER_KEY a secret key with the scopes decide and reward, PORT the site's own.

import { randomUUID } from 'node:crypto';
import { createServer } from 'node:http';
import { OpenFeature } from '@openfeature/server-sdk';
import { LeverProvider } from 'lever-openfeature/server';

const fallback = { headline: 'Invoicing that runs itself', text: 'Everything in one place.', button: 'See how it works' };
const provider = new LeverProvider({ baseUrl: process.env.LEVER_URL ?? 'http://localhost:8081', key: process.env.LEVER_KEY });
await OpenFeature.setProviderAndWait(provider);
const client = OpenFeature.getClient();

const escape = (text) => String(text).replace(/[&<>"]/g, (c) => `&#${c.charCodeAt(0)};`);

async function home(subject, answer) {
  const { value, variant } = await client.getObjectDetails('page-hero', fallback, { targetingKey: subject });
  answer.writeHead(200, {
    'content-type': 'text/html; charset=utf-8',
    'set-cookie': `visitor=${subject}; Max-Age=2592000; HttpOnly; SameSite=Lax`,
  });
  answer.end(`<!doctype html><title>Ledgerly</title>
<main data-variant="${escape(variant ?? '')}"><h1>${escape(value.headline)}</h1><p>${escape(value.text)}</p>
<form method="post" action="/start"><button>${escape(value.button)}</button></form></main>`);
}

function start(subject, answer) {
  client.track('click', { targetingKey: subject }); // for what this visitor was shown last
  answer.writeHead(303, { location: '/' }).end();
}

const server = createServer((request, answer) => {
  const subject = /(?:^|; )visitor=([\w-]{1,64})/.exec(request.headers.cookie ?? '')?.[1] ?? randomUUID();
  if (request.method === 'GET' && request.url === '/') return home(subject, answer);
  if (request.method === 'POST' && request.url === '/start') return start(subject, answer);
  return answer.writeHead(404).end();
});
server.listen(Number(process.env.PORT ?? 3000), '127.0.0.1', () => console.log(`http://127.0.0.1:${server.address().port}`));

process.on('SIGTERM', async () => {
  server.close();
  await OpenFeature.close(); // sends what was not sent yet
  process.exit(0);
});
