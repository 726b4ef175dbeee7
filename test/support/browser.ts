import { createRequire } from 'node:module';
import { killDescendants } from './descendants.js';
import { within } from './limit.js';
import { needs } from './needs.js';

/** What the tests use of playwright-core, whose own types ask for those of a browser. */
export interface Page {
  goto(url: string): Promise<unknown>;
  click(selector: string): Promise<void>;
  /** The value of an expression in the page. */
  evaluate(expression: string): Promise<unknown>;
  screenshot(options: { path: string }): Promise<unknown>;
}

interface OwnPage extends Page {
  /** With 0, no step has a limit of the browser's own. */
  setDefaultTimeout(limit: number): void;
}

interface Browser {
  newPage(options: { viewport: { width: number; height: number } }): Promise<OwnPage>;
  close(): Promise<void>;
}

interface Options {
  executablePath: string;
  env: NodeJS.ProcessEnv;
  timeout: number;
}

const { chromium } = createRequire(import.meta.url)('playwright-core') as {
  chromium: { launch(options: Options): Promise<Browser> };
};

/** How long the browser may take for one step, in milliseconds. */
const LIMIT = 30_000;

/** The browser itself did not do what it must do, whatever the server does. */
export class BrowserStuck extends Error {}

/**
 * Runs `use` with Debian's Chromium for use without windows, which has no guard, and with one page in it. A browser
 * that gets stuck says nothing about us, so `use` then begins again with another one, three times at most.
 */
export async function withPage(viewport: { width: number; height: number }, use: (page: Page) => Promise<void>) {
  needs('chromium-headless-shell');
  for (let tries = 1; ; tries++) {
    try {
      return await withNewPage(viewport, use);
    } catch (error) {
      if (!(error instanceof BrowserStuck) || tries === 4) throw error;
      console.error(`${error.message}: another one is started`);
    }
  }
}

async function withNewPage(viewport: { width: number; height: number }, use: (page: Page) => Promise<void>) {
  const { LD_PRELOAD: _, ...env } = process.env;
  const options = { executablePath: '/usr/bin/chromium-headless-shell', env, timeout: LIMIT };
  const browser = await chromium.launch(options).catch((cause: unknown) => {
    throw new BrowserStuck('the browser does not start', { cause });
  });
  try {
    const page = await timely('opens no page', browser.newPage({ viewport }));
    page.setDefaultTimeout(0);
    await use({
      goto: (url) => timely('opens nothing', page.goto(url)),
      click: (selector) => timely('clicks nothing', page.click(selector)),
      evaluate: (expression) => timely('evaluates nothing', page.evaluate(expression)),
      screenshot: (to) => timely('draws nothing', page.screenshot(to)),
    });
    await timely('does not close', browser.close());
  } catch (error) {
    killDescendants();
    throw error;
  }
}

function timely<T>(what: string, step: Promise<T>): Promise<T> {
  return within(LIMIT, step, () => new BrowserStuck(`the browser ${what} within ${LIMIT} ms`));
}
