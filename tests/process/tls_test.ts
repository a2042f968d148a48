/** TLS by the server itself: wss works, and what is wrong with the files is told. */
import assert from "node:assert/strict";
import { encodeEnvelope, HEADER_BYTES, TYPE } from "../../lib/protocol/mod.ts";
import { ProcessServer, runProgram, temporaryFolder } from "../support/process_server.ts";
import { signTestToken } from "../support/server.ts";

/** A certificate for 127.0.0.1 with its key, as files. */
interface Certificate {
  readonly certFile: string;
  readonly keyFile: string;
}

/** Makes a certificate that signs itself. Deno takes it as one of an authority only with `CA:FALSE`. */
async function makeCertificate(folder: string, name: string): Promise<Certificate> {
  const certificate = { certFile: `${folder}/${name}.pem`, keyFile: `${folder}/${name}.key` };
  const { success, stderr } = await new Deno.Command("openssl", {
    args: [
      ...[
        "req",
        "-x509",
        "-newkey",
        "ec",
        "-pkeyopt",
        "ec_paramgen_curve:prime256v1",
        "-nodes",
        "-days",
        "2",
      ],
      ...["-subj", "/CN=127.0.0.1", "-addext", "basicConstraints=critical,CA:FALSE"],
      ...["-addext", "subjectAltName=IP:127.0.0.1"],
      ...["-out", certificate.certFile, "-keyout", certificate.keyFile],
    ],
  }).output().catch((error) => {
    throw new Error(`this test needs openssl on the PATH: ${error}`);
  });
  assert.ok(success, new TextDecoder().decode(stderr));
  return certificate;
}

/** Opens a connection that trusts one certificate, sends one request, and gives the type and sequence of its answer. */
async function ask(url: string, certFile: string): Promise<number[]> {
  using client = Deno.createHttpClient({ caCerts: [await Deno.readTextFile(certFile)] });
  const userId = crypto.randomUUID();
  const headers = { authorization: `Bearer ${await signTestToken(userId)}` };
  const socket = new WebSocket(`${url}/${userId}/1`, { client, headers, protocols: ["messaging.v1"] });
  socket.binaryType = "arraybuffer";
  const answer = Promise.withResolvers<number[]>();
  const closed = new Promise((resolve) => socket.onclose = resolve);
  socket.onopen = () => socket.send(encodeEnvelope(1, 7, TYPE.unregister));
  socket.onerror = (event) => {
    event.preventDefault();
    answer.reject(new Error("message" in event ? String(event.message) : "refused"));
  };
  socket.onmessage = ({ data }) => {
    const view = new DataView(data);
    answer.resolve([view.byteLength, view.getUint8(5), view.getUint32(1)]);
  };
  const result = await answer.promise.finally(() => socket.close());
  await closed;
  return result;
}

Deno.test("with TLS_CERT_FILE and TLS_KEY_FILE the server speaks wss and https, and nothing else", async () => {
  await using folder = await temporaryFolder();
  const { certFile, keyFile } = await makeCertificate(folder.path, "server");
  await using server = await ProcessServer.start({ TLS_CERT_FILE: certFile, TLS_KEY_FILE: keyFile });
  assert.match(server.url, /^wss:\/\/127\.0\.0\.1:\d+$/);
  assert.deepEqual(await ask(server.url, certFile), [HEADER_BYTES, TYPE.ack, 7]);
  using client = Deno.createHttpClient({ caCerts: [await Deno.readTextFile(certFile)] });
  assert.equal(await (await fetch(`${server.httpUrl}/healthz`, { client })).text(), "ok\n");
  await assert.rejects(fetch(`${server.httpUrl.replace("https", "http")}/healthz`));
  const other = await makeCertificate(folder.path, "other");
  await assert.rejects(ask(server.url, other.certFile));
  using mistrusting = Deno.createHttpClient({ caCerts: [await Deno.readTextFile(other.certFile)] });
  await assert.rejects(
    fetch(`${server.httpUrl}/healthz`, { client: mistrusting }),
    (error) => /certificate|UnknownIssuer/i.test(Deno.inspect(error)),
  );
  assert.equal((await server.stop()).code, 0);
});

Deno.test("TLS files that are missing, or no certificate and key of each other, are named without a stack", async () => {
  await using folder = await temporaryFolder();
  const one = await makeCertificate(folder.path, "one");
  const two = await makeCertificate(folder.path, "two");
  const letter = `${folder.path}/letter.txt`;
  await Deno.writeTextFile(letter, "Dear Alice");
  const missing = `${folder.path}/missing.pem`;
  for (
    const [TLS_CERT_FILE, TLS_KEY_FILE, expected] of [
      [missing, one.keyFile, missing],
      [one.certFile, missing, missing],
      [letter, one.keyFile, "TLS_CERT_FILE"],
      [one.certFile, letter, "TLS_KEY_FILE"],
      [one.certFile, two.keyFile, "TLS_KEY_FILE"],
    ] as const
  ) {
    const KV_PATH = `${folder.path}/messaging.kv`;
    const { code, stderr } = await runProgram([], { KV_PATH, TLS_CERT_FILE, TLS_KEY_FILE });
    assert.equal(code, 1);
    assert.ok(stderr.includes(expected), `${expected} is not in ${stderr}`);
    assert.doesNotMatch(stderr, /^\s+at /m, "a stack");
  }
});
