const TIMEOUT_MS = 45_000;
const INTERVAL_MS = 20;

/** Asks again and again until the condition holds; fails with what was waited for and how things stood. */
export async function until(
  condition: () => boolean | Promise<boolean>,
  what: string,
  state: () => string = () => '',
): Promise<void> {
  const deadline = Date.now() + TIMEOUT_MS;
  while (!(await condition())) {
    if (Date.now() > deadline) throw new Error(`waited in vain for ${what} ${state()}`.trim());
    await new Promise((resolve) => setTimeout(resolve, INTERVAL_MS));
  }
}
