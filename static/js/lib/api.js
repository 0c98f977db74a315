/* The only use of fetch for JSON; errors become readable messages. */

import { link } from "./links.js";

export class ApiError extends Error {
  constructor(message, status) {
    super(message);
    this.status = status;
  }
}

/** Send a request; return the parsed response, or throw ApiError with a readable message. */
export async function request(method, path, body, { timeoutMs = 15000 } = {}) {
  let response;
  try {
    response = await fetch(link(path), {
      method,
      headers: { Accept: "application/json", ...(body === undefined ? {} : { "Content-Type": "application/json" }) },
      body: body === undefined ? undefined : JSON.stringify(body),
      cache: "no-store",
      signal: AbortSignal.timeout(timeoutMs),
    });
  } catch {
    throw new ApiError("the server is unreachable", 0);
  }
  const type = response.headers.get("Content-Type") || "";
  const answer = type.includes("json") ? await response.json() : null;
  if (!response.ok) throw new ApiError(answer?.error || `the server responded with status ${response.status}`, response.status);
  return answer;
}

export const get = (path, options) => request("GET", path, undefined, options);
