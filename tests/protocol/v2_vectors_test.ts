/**
 * Runs the test vectors of version 2 in both directions: bytes to message, and message to bytes.
 *
 * The vectors were made without this codec, so this is where it meets the specification.
 * @module
 */
import assert from "node:assert/strict";
import * as v from "valibot";
import { v2 } from "../../lib/protocol/mod.ts";
import clientBadJson from "../vectors/v2_client_bad.json" with { type: "json" };
import clientGoodJson from "../vectors/v2_client_good.json" with { type: "json" };
import framesJson from "../vectors/v2_frames.json" with { type: "json" };
import serverBadJson from "../vectors/v2_server_bad.json" with { type: "json" };
import serverFramesJson from "../vectors/v2_server_frames.json" with { type: "json" };
import serverGoodJson from "../vectors/v2_server_good.json" with { type: "json" };
import { clientMessage, serverMessage, vectorFromClient, vectorFromServer } from "./v2_messages.ts";
import { badVectors, frameVectors, goodVectors, testBad, testFrames, testGood, typesOf } from "./vectors.ts";

const clientGood = v.parse(goodVectors(vectorFromClient), clientGoodJson);
const clientBad = v.parse(badVectors, clientBadJson);
const serverGood = v.parse(goodVectors(vectorFromServer), serverGoodJson);
const serverBad = v.parse(badVectors, serverBadJson);

const fromClient = { codec: v2, sender: "client", toMessage: clientMessage } as const;
const fromServer = { codec: v2, sender: "server", toMessage: serverMessage } as const;

testGood(fromClient, clientGood);
testBad(fromClient, clientBad);
testGood(fromServer, serverGood);
testBad(fromServer, serverBad);
testFrames(fromClient, v.parse(frameVectors(vectorFromClient), framesJson));
testFrames(fromServer, v.parse(frameVectors(vectorFromServer), serverFramesJson));

Deno.test("the vectors hold every message of version 2, good and bad", () => {
  assert.deepEqual(typesOf(clientGood), [1, 2, 3, 4, 5, 8, 10, 12]);
  assert.deepEqual(typesOf(serverGood), [1, 2, 6, 7, 8, 9, 11, 13]);
  for (const type of typesOf(clientGood)) assert.ok(typesOf(clientBad).includes(type));
  for (const type of typesOf(serverGood)) assert.ok(typesOf(serverBad).includes(type));
});
