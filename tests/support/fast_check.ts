/** Property tests, from npm: named here alone, so that the server's own lock file does not know it. */
export { default } from "npm:fast-check@4.10.2";
