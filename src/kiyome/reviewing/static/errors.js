/**
 * Remedies for the errors of the server.
 */

/** @type {Object<number, string>} */
const REMEDIES = {
  0: "Check that `kiyome review` is running. Your decisions are stored on this computer and sent when it answers.",
  401: "Open the address that the server printed, with its token, on this computer. Nothing is lost.",
  403: "Reload the page from the address that the server printed. Nothing is lost.",
  404: "Reload the page.",
  410: "The server has restarted. Reload the page. Nothing is lost.",
  429: "The server is busy. The page tries again by itself.",
};

/** What to do about an error. @param {{status?: number, parts?: {remedy?: string}}} error */
export function remedyOf(error) {
  return error.parts?.remedy ?? REMEDIES[error.status ?? -1] ?? "Reload the page. The log of the server has more.";
}
