// A browser that does what it is told: a command in JSON on each line of the standard input, an answer on each of the
// standard output. What the pages complain about is kept, and told when that is asked for.
'use strict';
const fs = require('node:fs');
const readline = require('node:readline');
const { setTimeout: sleep } = require('node:timers/promises');
const { chromium } = require('playwright-core');

const QUIET = ['--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run', '--disable-background-networking',
  '--disable-component-update', '--disable-sync'];
const axe = fs.readFileSync(require.resolve('axe-core/axe.min.js'), 'utf8');

let browser;
let page;
let complaints = [];

const commands = {
  async open({ url, dark = false, width = 1280, height = 860 }) {
    const colorScheme = dark ? 'dark' : 'light';
    const context = await browser.newContext({ viewport: { width, height }, colorScheme, reducedMotion: 'reduce' });
    page = await context.newPage();
    page.on('pageerror', (error) => complaints.push(String(error)));
    page.on('console', (message) => {
      if (['error', 'warning'].includes(message.type())) complaints.push(message.text());
    });
    await page.goto(url);
  },
  // Waits until the expression holds; tells after how many milliseconds. Asked from outside: the page's own policy lets
  // nothing be evaluated in it.
  async wait({ until, within }) {
    const began = Date.now();
    while (!(await page.evaluate(until))) {
      if (Date.now() - began > within) {
        const shown = await page.evaluate('document.body.innerText');
        throw new Error(`not within ${within} ms: ${until}\n${shown}`);
      }
      await sleep(20);
    }
    return Date.now() - began;
  },
  evaluate: ({ expression }) => page.evaluate(expression),
  press: ({ key }) => page.keyboard.press(key),
  type: ({ text }) => page.keyboard.type(text),
  hover: ({ selector }) => page.hover(selector),
  shot: ({ path }) => page.screenshot({ path }).then(() => null),
  // What axe-core finds wrong for people who use the page by other means than a mouse and good eyes.
  async axe() {
    await page.evaluate(axe);
    const { violations } = await page.evaluate('axe.run()');
    return violations.map(({ id, nodes }) => `${id}: ${nodes.map((node) => `${node.target} ${node.failureSummary}`).join('; ')}`);
  },
  complaints() {
    const told = complaints;
    complaints = [];
    return told;
  },
};

(async () => {
  browser = await chromium.launch({ executablePath: process.env.CHROMIUM || '/usr/bin/chromium', args: QUIET });
  for await (const line of readline.createInterface({ input: process.stdin })) {
    const { command, ...options } = JSON.parse(line);
    let answer;
    try {
      answer = { ok: (await commands[command](options)) ?? null };
    } catch (error) {
      answer = { error: String(error.message ?? error) };
    }
    process.stdout.write(`${JSON.stringify(answer)}\n`);
  }
  await browser.close();
})();
