/* The only fetch: JSON in, JSON out, errors as sentences. */

export class ApiError extends Error {
  constructor(message, status) {
    super(message);
    this.status = status;
  }
}

/** Ask the server; returns the parsed answer or throws ApiError with what a person can read. */
export async function ask(method, path, body, { timeoutMs = 15000 } = {}) {
  let response;
  try {
    response = await fetch(path, {
      method,
      headers: { Accept: "application/json", ...(body === undefined ? {} : { "Content-Type": "application/json" }) },
      body: body === undefined ? undefined : JSON.stringify(body),
      cache: "no-store",
      signal: AbortSignal.timeout(timeoutMs),
    });
  } catch {
    throw new ApiError("the server cannot be reached", 0);
  }
  const type = response.headers.get("Content-Type") || "";
  const answer = type.includes("json") ? await response.json() : null;
  if (!response.ok) throw new ApiError(answer?.error || `the server answered ${response.status}`, response.status);
  return answer;
}

export const get = (path, options) => ask("GET", path, undefined, options);
