import { createRequire } from 'node:module';
import { needs } from './needs.js';

/** What the tests use of playwright-core, whose own types ask for those of a browser. */
export interface Page {
  goto(url: string): Promise<unknown>;
  click(selector: string): Promise<void>;
  /** The value of an expression in the page. */
  evaluate(expression: string): Promise<unknown>;
  screenshot(options: { path: string }): Promise<unknown>;
}

interface Browser {
  newPage(options: { viewport: { width: number; height: number } }): Promise<Page>;
  close(): Promise<void>;
}

const { chromium } = createRequire(import.meta.url)('playwright-core') as {
  chromium: { launch(options: { executablePath: string; env: NodeJS.ProcessEnv }): Promise<Browser> };
};

/** Starts Debian's Chromium, without a window and without the guard. */
export function startBrowser(): Promise<Browser> {
  needs('chromium');
  const { LD_PRELOAD: _, ...env } = process.env;
  return chromium.launch({ executablePath: '/usr/bin/chromium', env });
}
