// The console in a real browser: every view is opened, read as numbers, judged by axe, walked through by keyboard alone; then an
// experiment is paused, resumed and edited.
import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { chromium } from 'playwright-core';

const { executable, base, past, keys, decision, shots } = JSON.parse(process.argv[2]);
const axe = readFileSync(createRequire(import.meta.url).resolve('axe-core/axe.min.js'), 'utf8');
const browser = await chromium.launch({
  executablePath: executable,
  args: ['--no-sandbox', '--disable-gpu', '--no-first-run', '--disable-background-networking', '--disable-component-update', '--disable-sync', '--no-proxy-server'],
});
const told = { errors: [], hosts: [], views: {}, wide: [], unreached: {}, serious: [] };
const VIEWS = {
  list: '#/', report: '#/e/shop', paid: '#/e/shop?segment=paid', quiet: '#/e/quiet', why: '#/e/shop/why', history: '#/e/shop/history', edit: '#/e/shop/edit', health: '#/health',
};
// Where numbers may stand that are no number of an answer: names, axes, texts of people.
const OTHER = 'data, time, .axis, .ticks, .chart, option, pre, textarea, code, .who, .marks';

const open = async (options) => {
  const context = await browser.newContext(options);
  const page = await context.newPage();
  page.on('pageerror', (error) => told.errors.push(String(error)));
  page.on('console', (message) => message.type() === 'error' && !/status of 40[01]/.test(message.text()) && told.errors.push(message.text()));
  page.on('request', (request) => told.hosts.push(new URL(request.url()).origin));
  return page;
};
const visit = async (page, hash) => {
  await page.goto(`${base}/${hash}`);
  await page.waitForSelector('.view:not(.locked)');
};
const read = (page) => page.evaluate((other) => {
  const loose = [];
  const texts = document.createTreeWalker(document.getElementById('main'), NodeFilter.SHOW_TEXT);
  while (texts.nextNode()) if (/\d/.test(texts.currentNode.data) && !texts.currentNode.parentElement.closest(other)) loose.push(texts.currentNode.data);
  const numbers = [...document.querySelectorAll('data[data-of]')].map((one) => ({ of: one.dataset.of, over: one.dataset.over, value: one.value, text: one.textContent }));
  return { loose, numbers, text: document.getElementById('main').innerText };
}, OTHER);
const judged = async (page, name) => {
  await page.evaluate(axe);
  const found = await page.evaluate(() => axe.run({ resultTypes: ['violations'] }));
  for (const one of found.violations)
    if (['serious', 'critical'].includes(one.impact)) told.serious.push([name, one.id, one.nodes[0].html.slice(0, 200)]);
};
// Everything that can be used is come to by Tab.
const walked = async (page, name) => {
  await page.evaluate(() => { document.activeElement.blur(); scrollTo(0, 0); });
  const wanted = await page.evaluate(() => {
    const all = [...document.querySelectorAll('a[href], button:not(:disabled), select, input, textarea, summary, [tabindex="0"]')].filter((one) => one.checkVisibility());
    all.forEach((one, place) => { one.dataset.walk = place; });
    return all.length;
  });
  const seen = new Set();
  for (let step = 0; step < wanted + 20 && seen.size < wanted; step++) {
    await page.keyboard.press('Tab');
    const at = await page.evaluate(() => document.activeElement?.dataset.walk);
    if (at !== undefined) seen.add(at);
  }
  if (seen.size < wanted) told.unreached[name] = wanted - seen.size;
};

// A stranger is asked for a key, and with one reads; all by keyboard.
const page = await open({ viewport: { width: 1240, height: 900 } });
await page.goto(`${base}/`);
await page.waitForSelector('.locked');
const type = async (key) => {
  await page.keyboard.press('Tab');
  await page.focus('.who');
  await page.keyboard.press('Enter');
  await page.waitForSelector('dialog[open] input');
  await page.keyboard.type(key);
  await page.keyboard.press('Enter');
};
await type('lever_unknown');
await page.waitForFunction(() => document.querySelector('h1')?.textContent.includes('does not know'));
await type(keys.read);
await page.waitForSelector('.experiments');
told.reader = { buttons: await page.locator('main button').count(), cookies: (await page.context().cookies()).length };
await page.focus('.experiments a');
await page.keyboard.press('Enter');
await page.waitForSelector('.headline');
told.readerMayTurn = await page.locator('.title button').count();
await page.focus('.who');
await page.keyboard.press('Enter');
await page.waitForSelector('dialog[open]');
await page.keyboard.press('Escape');
await page.waitForSelector('dialog', { state: 'detached' });
told.focusReturns = await page.evaluate(() => document.activeElement.className);
await page.close();

// Every view, as it is on a desk, in the dark, on a phone.
const SIZES = {
  desktop: { viewport: { width: 1240, height: 900 } },
  dark: { viewport: { width: 1240, height: 900 }, colorScheme: 'dark' },
  phone: { viewport: { width: 390, height: 844 }, hasTouch: true, isMobile: true },
};
for (const [size, options] of Object.entries(SIZES)) {
  const sized = await open(options);
  await sized.addInitScript((key) => sessionStorage.setItem('lever-key', key), keys.everything);
  for (const [name, hash] of Object.entries(VIEWS)) {
    await visit(sized, hash);
    if (name === 'list') await sized.waitForFunction(() => !document.querySelector('#main').innerText.includes('is being made'));
    if (name === 'why') {
      await sized.fill('input[name=decision]', decision);
      await sized.press('input[name=decision]', 'Enter');
      await sized.waitForSelector('.answer');
    }
    if (size === 'desktop') {
      told.views[name] = await read(sized);
      await walked(sized, name);
    }
    if (size !== 'phone' || name === 'report') await judged(sized, `${name} ${size}`);
    if (await sized.evaluate(() => document.documentElement.scrollWidth > innerWidth)) told.wide.push(`${name} ${size}`);
    if (shots) await sized.screenshot({ path: `${shots}/${name}-${size}.png`, fullPage: true });
  }
  await sized.close();
}

// Three days of a shop, shown without keys: its charts are drawn, and say what the table below them says.
for (const [size, options] of Object.entries(SIZES)) {
  const sized = await open(options);
  await sized.goto(`${past}/#/e/homepage-hero`);
  await sized.waitForFunction(() => document.querySelectorAll('.chart canvas').length >= 2);
  if (size === 'desktop') {
    told.drawn = await sized.evaluate(() => [...document.querySelectorAll('.chart canvas')].map((canvas) => {
      const { data } = canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height);
      return data.some((one) => one > 0);
    }));
    told.openTo = await sized.textContent('.who');
    await sized.click('.figures summary');
    await sized.waitForSelector('.figures table');
    told.views.past = await read(sized);
  }
  await judged(sized, `past ${size}`);
  if (await sized.evaluate(() => document.documentElement.scrollWidth > innerWidth)) told.wide.push(`past ${size}`);
  await sized.close();
}

// A key for everything: trying a context, pausing, resuming, a wrong edit, a right one.
const admin = await open({ viewport: { width: 1240, height: 900 } });
await admin.addInitScript((key) => sessionStorage.setItem('lever-key', key), keys.everything);
await visit(admin, '#/e/shop/why');
await admin.selectOption('[name="feature plan"]', 'paid');
await admin.click('text=Explain the choice');
told.context = await admin.textContent('.answer');
await visit(admin, '#/e/shop');
await admin.evaluate(() => { window.stays = document.querySelector('.leaderboard'); });
await admin.click('text=Pause…');
await admin.click('dialog[open] button.main');
await admin.waitForSelector('.title .badge.is-paused');
told.sameElement = await admin.evaluate(() => window.stays === document.querySelector('.leaderboard'));
await admin.click('text=Resume…');
await admin.click('dialog[open] button.main');
await admin.waitForSelector('.title .badge.is-active');
await admin.click('text=Exclude…');
await admin.waitForSelector('dialog[open] fieldset');
await judged(admin, 'a dialog');
const hour = new Date(Math.floor(Date.now() / 3600000) * 3600000);
await admin.fill('dialog input[name=first]', new Date(hour.getTime() - 86400000).toISOString().slice(0, 16));
await admin.fill('dialog input[name=last]', new Date(hour.getTime() + 86400000).toISOString().slice(0, 16));
await admin.check('dialog input[value=slow]');
await admin.click('dialog[open] button.main');
await admin.waitForSelector('.excluded li');
told.excluded = await admin.textContent('.excluded li');
await admin.click('.excluded button');
await admin.click('dialog[open] button.main');
await admin.waitForSelector('.excluded li', { state: 'detached' });
await admin.click('.tabs >> text=Edit');
const before = await admin.inputValue('#config');
await admin.fill('#config', before.replace('share: 0.3', 'share: 3'));
await admin.press('#config', 'Control+Enter');
await admin.waitForSelector('.wrongs li');
told.wrongs = await admin.locator('.wrongs li').allInnerTexts();
await admin.click('.wrongs button.line');
told.jumped = await admin.evaluate(() => {
  const { value, selectionStart, selectionEnd } = document.activeElement;
  return value.slice(selectionStart, selectionEnd);
});
await admin.fill('#config', before.replace('What the shop opens with.', 'How the shop opens.'));
await admin.press('#config', 'Control+Enter');
told.done = await admin.textContent('#said .good');
await admin.click('.tabs >> text=History');
await admin.click('.events summary >> nth=0');
told.difference = await admin.locator('.events pre >> nth=0').innerText();
await browser.close();
console.log(JSON.stringify(told));
