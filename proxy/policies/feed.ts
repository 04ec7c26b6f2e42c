/** What keeps the policies of billing in a table fresh for as long as it runs: over HTTP or through Redis. */
export interface PolicyFeed {
  /**
   * Resolves when the table has something to go by: the snapshot of an earlier run, or billing's first word. A gateway
   * whose keys all stand in its configuration need not wait for it.
   */
  ready: Promise<void>;
  /** Stops it. What the table has stays. */
  close(): Promise<void>;
}
