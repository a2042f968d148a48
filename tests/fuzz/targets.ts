/** Everything that is fuzzed. */
import { codecs } from "./codec_target.ts";
import { sessions } from "./session_target.ts";
import type { Target } from "./target.ts";
import { upgrades } from "./upgrade_target.ts";

/** In the order in which they are run. */
export const TARGETS: readonly Target[] = [codecs, sessions, upgrades];
