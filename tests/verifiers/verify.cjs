// Verifies one webhook with the library that its receiver would use. What came stands on standard input, as JSON:
// how, secret, headers (names in lower case), body (base64). Exit status: 0 if the signature is good, 1 if not.
const crypto = require("node:crypto");

/** As Shopify's documents say: base64 of the HMAC of the body. */
function shopify({ secret, headers, body }) {
  const expected = crypto.createHmac("sha256", secret).update(body).digest();
  return crypto.timingSafeEqual(expected, Buffer.from(headers["x-shopify-hmac-sha256"], "base64"));
}

/** Ed25519, as the specification of Standard Webhooks says: no library of theirs verifies it. */
function asymmetric({ secret, headers, body }) {
  const point = Buffer.from(secret.replace(/^whpk_/, ""), "base64").toString("base64url");
  const key = crypto.createPublicKey({ key: { kty: "OKP", crv: "Ed25519", x: point }, format: "jwk" });
  const content = Buffer.concat([Buffer.from(`${headers["webhook-id"]}.${headers["webhook-timestamp"]}.`), body]);
  const signatures = headers["webhook-signature"].split(" ").map((signature) => signature.split(","));
  return signatures.some(
    ([version, signature]) => version === "v1a" && crypto.verify(null, content, key, Buffer.from(signature, "base64")),
  );
}

const verifiers = {
  shopify,
  asymmetric,
  standard({ secret, headers, body }) {
    const { Webhook } = require("standardwebhooks");
    new Webhook(secret).verify(body, headers);
    return true;
  },
  stripe({ secret, headers, body }) {
    const Stripe = require("stripe");
    const client = new (Stripe.default ?? Stripe)("sk_test_none");
    client.webhooks.constructEvent(body, headers["stripe-signature"], secret);
    return true;
  },
  async github({ secret, headers, body }) {
    // It can only be imported, and what is imported is not looked for in NODE_PATH.
    const { verify } = await import(`${process.env.NODE_PATH}/@octokit/webhooks-methods/dist-node/index.js`);
    return verify(secret, body.toString(), headers["x-hub-signature-256"]);
  },
};

async function main() {
  const { how, body, ...rest } = JSON.parse(require("node:fs").readFileSync(0));
  const good = await verifiers[how]({ ...rest, body: Buffer.from(body, "base64") });
  if (!good) throw new Error("the signature is wrong");
}

main().catch((error) => {
  console.error(`${error.name}: ${error.message}`);
  process.exitCode = 1;
});
