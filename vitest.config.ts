import { defineConfig } from 'vitest/config';

export default defineConfig({
  test: {
    include: ['{core,config,proxy,billing,src,web,test,bench}/**/*.test.ts'],
    globalSetup: ['test/servers/global-setup.ts'],
    testTimeout: 30_000,
    hookTimeout: 60_000,
    pool: 'forks',
    maxWorkers: 2,
  },
});
