/** An account system that knows which tokens are good, and servers that ask it. */
import type { AdvancingClock } from "./advancing_clock.ts";
import { IdentityProvider } from "./identity_provider.ts";
import { startServer, type TestServer } from "./server.ts";

/** An account system: what it says of each token. Tokens that it does not know are not active. */
export class Accounts implements AsyncDisposable {
  /** What is said of each token that is active. */
  readonly tokens = new Map<string, Readonly<Record<string, unknown>>>();
  /** The HTTP server. */
  readonly provider = IdentityProvider.start(({ headers, body }) => {
    if (headers.get("authorization") !== `Basic ${btoa("messaging:secret+of+16+bytes")}`) {
      return new Response(null, { status: 401 });
    }
    const claims = this.tokens.get(new URLSearchParams(body).get("token") ?? "");
    return Response.json(claims === undefined ? { active: false } : { active: true, ...claims });
  });

  /** Makes a token. */
  issue(userId: string, claims: Readonly<Record<string, unknown>> = {}): string {
    const token = crypto.randomUUID();
    this.tokens.set(token, { sub: userId, ...claims });
    return token;
  }

  /** Starts a messaging server that asks it. */
  start(clock?: AdvancingClock, settings: Readonly<Record<string, string>> = {}): Promise<TestServer> {
    return startServer({
      AUTH_MODE: "introspection",
      AUTH_INTROSPECTION_URL: this.provider.url("/introspect"),
      AUTH_CLIENT_ID: "messaging",
      AUTH_CLIENT_SECRET: "secret of 16 bytes",
      ...settings,
    }, clock === undefined ? {} : { clock });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.provider[Symbol.asyncDispose]();
  }
}
