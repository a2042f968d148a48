/**
 * Tests of tokens that an identity provider did not sign, or with keys that it should not have.
 * @module
 */
import assert from "node:assert/strict";
import { CompactSign, exportJWK, exportSPKI, generateKeyPair, importJWK, SignJWT, UnsecuredJWT } from "jose";
import { newSigningKey, signClaims } from "../support/identity_provider.ts";
import { GOOD, key, openProvider, refused, USER } from "./open_provider.ts";

const other = await newSigningKey("k1");
const sharedSecret = {
  kty: "oct",
  kid: "k1",
  alg: "HS256",
  k: "c2VjcmV0LXRoYXQtaXMtcHVibGlzaGVkLWJ5LW1pc3Rha2U",
};

Deno.test("authenticate() refuses every way to have a token count that the provider did not sign", async () => {
  const { provider, tokens } = openProvider({ keys: [key.jwk, sharedSecret] });
  await using _ = provider;
  const bytes = (text: string) => new TextEncoder().encode(text);
  const publicKey = await importJWK(key.jwk, "ES256", { extractable: true });
  assert.ok(publicKey instanceof CryptoKey);
  const hmac = (secret: Uint8Array, alg = "HS256") =>
    new SignJWT({ ...GOOD }).setProtectedHeader({ alg, kid: "k1" }).sign(secret);
  const good = await signClaims(key, GOOD);
  const [header, payload, signature = ""] = good.split(".");
  const encode = (value: unknown) =>
    btoa(JSON.stringify(value)).replaceAll("=", "").replaceAll("+", "-").replaceAll("/", "_");
  const ownKey = await exportJWK((await generateKeyPair("ES256", { extractable: true })).publicKey);
  const forged: Readonly<Record<string, string>> = {
    "another key under the same kid": await signClaims(other, GOOD),
    "the public key as a secret, as PEM": await hmac(bytes(await exportSPKI(publicKey))),
    "the public key as a secret, as JSON": await hmac(bytes(JSON.stringify(key.jwk))),
    "the same with SHA-512": await hmac(bytes(JSON.stringify(key.jwk)), "HS512"),
    "a secret that the key set contains": await hmac(
      Uint8Array.from(atob(`${sharedSecret.k}=`), (letter) => letter.charCodeAt(0)),
    ),
    "no signature": new UnsecuredJWT({ ...GOOD }).encode(),
    "no signature, with a kid": `${encode({ alg: "none", kid: "k1" })}.${payload}.`,
    "none in other letters": `${encode({ alg: "NonE", kid: "k1" })}.${payload}.`,
    "a key of its own in the header": await signClaims(other, GOOD, { jwk: ownKey }),
    "a key elsewhere": await signClaims(other, GOOD, {
      jku: provider.url("/jku"),
      x5u: provider.url("/x5u"),
    }),
    "a signature that was cut off": `${header}.${payload}.`,
    "a signature that was changed": `${header}.${payload}.${
      signature.replace(/^./, (letter) => letter === "A" ? "B" : "A")
    }`,
    "zeros as signature": `${header}.${payload}.${"A".repeat(86)}`,
    "other claims under the signature": `${header}.${
      encode({ ...GOOD, sub: crypto.randomUUID() })
    }.${signature}`,
    "an algorithm of another curve": `${encode({ alg: "ES384", kid: "k1" })}.${payload}.${signature}`,
    "no algorithm": `${encode({ kid: "k1" })}.${payload}.${signature}`,
    "a header that is no object": `${encode("x")}.${payload}.${signature}`,
    "claims that are no object": await new CompactSign(bytes("[1]"))
      .setProtectedHeader({ alg: "ES256", kid: "k1" }).sign(key.privateKey),
    "five parts, as if encrypted": `${good}.x.y`,
    "two parts": `${header}.${payload}`,
    "nothing of a token": "x",
  };
  for (const [what, token] of Object.entries(forged)) {
    await assert.rejects(tokens.authenticate(token), refused(/./), what);
  }
  assert.equal((await tokens.authenticate(good)).userId, USER);
  assert.deepEqual([...new Set(provider.asked.map(({ path }) => path))], ["/"], "no URL of a token is asked");
});

Deno.test("authenticate() refuses what no provider should publish: a weak key, and a private one", async () => {
  const { privateKey, publicKey } = await crypto.subtle.generateKey(
    {
      name: "RSASSA-PKCS1-v1_5",
      modulusLength: 1_024,
      publicExponent: new Uint8Array([1, 0, 1]),
      hash: "SHA-256",
    },
    true,
    ["sign", "verify"],
  );
  const weak = { ...await exportJWK(publicKey), kid: "weak", alg: "RS256" };
  const unsafe = await generateKeyPair("ES256", { extractable: true });
  const published = { ...await exportJWK(unsafe.privateKey), kid: "private", alg: "ES256" };
  const { provider, tokens } = openProvider({ keys: [key.jwk, weak, published] });
  await using _ = provider;
  const head = `${btoa('{"alg":"RS256","kid":"weak"}').replaceAll("=", "")}.${
    btoa(JSON.stringify(GOOD)).replaceAll("=", "")
  }`;
  const signed = await crypto.subtle.sign("RSASSA-PKCS1-v1_5", privateKey, new TextEncoder().encode(head));
  const signature = btoa(String.fromCharCode(...new Uint8Array(signed)))
    .replaceAll("+", "-").replaceAll("/", "_").replaceAll("=", "");
  await assert.rejects(tokens.authenticate(`${head}.${signature}`), refused(/./));
  const stolen = { privateKey: unsafe.privateKey, jwk: published, alg: "ES256" };
  await assert.rejects(tokens.authenticate(await signClaims(stolen, GOOD)), refused(/./));
  assert.equal((await tokens.authenticate(await signClaims(key, GOOD))).userId, USER);
});
