/**
 * What to do about each way in which the server can refuse.
 */

/** @type {Object<number, string>} */
const REMEDIES = {
  0: "See whether `kiyome review` still runs. What you decided is kept on this computer and sent when it answers.",
  401: "Open the address that the server printed, with its token, on this computer; nothing is lost.",
  403: "Load the page again, from the address that the server printed; nothing is lost.",
  404: "The server does not know this. Load the page again.",
  410: "The server was started anew. Load the page again; nothing is lost.",
  429: "The server is busy. It is asked again by itself.",
};

/** A sentence that says what to do. @param {{status?: number, parts?: {remedy?: string}}} error */
export function remedyOf(error) {
  return error.parts?.remedy ?? REMEDIES[error.status ?? -1] ?? "Load the page again. The server's log says more.";
}
