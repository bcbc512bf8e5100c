// A visitor in Chromium reads a hero on one page and clicks on the next; another one is asked for consent first.
import { chromium } from 'playwright-core';

const { executable, modules, lever, key } = JSON.parse(process.argv[2]);
const args = ['--no-sandbox', '--disable-gpu', '--no-first-run', '--disable-background-networking', '--no-proxy-server'];
const browser = await chromium.launch({ executablePath: executable, args });

/** What `story` of the page returns, given a provider with these options; the page is new, the tab may not be. */
async function on(page, subject, options, story) {
  await page.goto(modules);
  return page.evaluate(async ({ lever, key, subject, options, story }) => {
    const { OpenFeature } = await import('@openfeature/web-sdk');
    const { LeverProvider } = await import('lever-openfeature/web');
    const provider = new LeverProvider({ baseUrl: lever, key, timeoutMs: 20000, cacheMode: 'disabled', ...options });
    await OpenFeature.setContext({ targetingKey: subject });
    await OpenFeature.setProviderAndWait(provider);
    return new Function('provider', 'client', `return (async () => { ${story} })()`)(provider, OpenFeature.getClient());
  }, { lever, key, subject, options, story });
}

const READ = "const d = client.getObjectDetails('hero', {}); await provider.flush(); return d.flagMetadata.decisionId;";
const CLICK = "client.track('click'); await provider.flush(); return provider.unmatched;";
const kept = (page) => page.evaluate(() => sessionStorage.length + localStorage.length);
const told = {};
const tab = await browser.newPage();
told.decision = await on(tab, 'buyer', {}, READ);
told.unmatched = await on(tab, 'buyer', {}, CLICK);
told.stranger = await on(tab, 'somebody else', {}, CLICK); // has no decision, and says so
const other = await browser.newPage();
told.otherTab = await on(other, 'buyer', {}, CLICK);
const local = await (await browser.newContext()).newPage();
told.localDecision = await on(local, 'buyer', { remember: 'local' }, READ);
told.local = await on(await local.context().newPage(), 'buyer', { remember: 'local' }, CLICK);

const shy = await (await browser.newContext()).newPage();
const sent = [];
shy.on('request', (request) => sent.push(new URL(request.url()).pathname));
told.shyDecision = await on(shy, 'shy', { consent: false }, `${READ.split('return')[0]} client.track('click'); await provider.flush(); return d.flagMetadata.decisionId;`);
told.shyKept = await kept(shy);
told.shySent = sent.filter((path) => path === '/v1/events').length;
told.yesDecision = await on(shy, 'shy', { consent: false }, `
  await provider.setConsent(true); const d = client.getObjectDetails('hero', {}); client.track('click');
  await provider.flush(); return d.flagMetadata.decisionId;`);
told.yesKept = await kept(shy);
await browser.close();
console.log(JSON.stringify(told));
