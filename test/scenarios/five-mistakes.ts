/** A configuration with a mistake of five kinds: an unknown field, an absent variable, a period, a plan and a hash that are none. */
export const FIVE_MISTAKES = `gateway: { prot: 1 }
upstreams:
  stub: { wire: openai, provider: openai, base_url: "\${WEIR_TEST_NO_SUCH_NAME}" }
customers:
  acme:
    name: Acme
    limits: [{ budget: 10 USD, per: fortnight }]
    plan: golden
    keys:
      prod: { secret: "sha256:nothing" }
`;
