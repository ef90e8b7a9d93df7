/** Requests to the server extension. */
import { URLExt } from '@jupyterlab/coreutils';
import { ServerConnection } from '@jupyterlab/services';

/** A failed request; `message` can be shown to the user. */
export class RequestError extends Error {
  constructor(
    message: string,
    readonly status: number | null,
    /** The field of the form that is wrong; null if the request had no form. */
    readonly field: string | null = null
  ) {
    super(message);
    this.name = 'RequestError';
  }
}

/** Send a request below /nbfn/api/ and return the parsed JSON. */
export async function request(
  settings: ServerConnection.ISettings,
  path: string,
  init: RequestInit = {}
): Promise<unknown> {
  const url = URLExt.join(settings.baseUrl, 'nbfn', 'api', path);
  let response: Response;
  try {
    response = await ServerConnection.makeRequest(url, init, settings);
  } catch {
    throw new RequestError('The Jupyter server does not respond.', null);
  }
  const text = await response.text();
  const data = parse(text);
  if (!response.ok) {
    const { status } = response;
    throw new RequestError(explain(status, data), status, fieldOf(data));
  }
  return data;
}

function parse(text: string): unknown {
  try {
    return text ? (JSON.parse(text) as unknown) : null;
  } catch {
    return null;
  }
}

function fieldOf(data: unknown): string | null {
  if (typeof data === 'object' && data !== null && 'field' in data) {
    return typeof data.field === 'string' ? data.field : null;
  }
  return null;
}

function explain(status: number, data: unknown): string {
  if (typeof data === 'object' && data !== null && 'message' in data) {
    const { message } = data;
    // "Not Found" is the message of Jupyter Server for an unknown route.
    if (typeof message === 'string' && message && message !== 'Not Found') {
      return message;
    }
  }
  if (status === 404) {
    return 'The nbfn server extension is missing. Install nbfn in the environment of the Jupyter server, and restart the server.';
  }
  if (status === 403) {
    return 'The Jupyter server refused the request. Reload the page to log in again.';
  }
  return `The Jupyter server responded with status ${status}.`;
}
