// REST calls: sign-in, retries of calls that may be repeated, typed errors, uploads with progress.

import { sleep, within } from "./emitter.js";
import {
  Aborted,
  CertificateRefused,
  Closed,
  type EncerError,
  errorOf,
  mayPass,
  NotSignedIn,
  notHere,
  OriginRefused,
  Unavailable,
  Unreachable,
  WrongServer,
  WrongVersion,
} from "./errors.js";
import { Session, type TokenStore } from "./tokens.js";
import type { Attachment } from "./types.js";

export const SERVER_MAJOR = 0; // of the version that /health returns
const ANSWER = 10_000;
const REFRESH = 3_000;
const UPLOAD = 90_000; // the server may take 75 s for a large picture
const TRIES = 4; // of a call that may be repeated
const FIRST_PAUSE = 300;
const CHUNK = 64 * 1024; // of a file, between two calls of onProgress
const LONGEST_WAIT = 30_000; // for a Retry-After; after a longer one, the caller decides

export interface CallOptions {
  body?: unknown;
  params?: Record<string, string | number | boolean>;
  /** Milliseconds for an answer, 10,000 by default; connecting a social account may take 100,000. */
  timeout?: number;
  signal?: AbortSignal | undefined;
}

export interface UploadOptions {
  name?: string;
  onProgress?: (sent: number) => void;
  signal?: AbortSignal;
}

interface Request {
  json?: unknown;
  form?: FormData;
  token?: string;
  timeout?: number;
  signal?: AbortSignal | undefined;
  onProgress?: ((sent: number) => void) | undefined;
}

// eslint-disable-next-line @typescript-eslint/no-explicit-any
export type Json = any;

export class Rest {
  readonly session: Session;
  closed = false;

  constructor(readonly base: string, store: TokenStore) {
    this.base = normalBase(base);
    this.session = new Session(store, this.base, (refreshToken) => this._refresh(refreshToken));
  }

  /** Return the JSON of an answer of `/api/v1`. Calls that may be repeated are tried up to four times. */
  async call(method: string, path: string, { body, params, signal, timeout = ANSWER }: CallOptions = {}): Promise<Json> {
    method = method.toUpperCase();
    const query = params ? `?${new URLSearchParams(params as Record<string, string>)}` : "";
    for (let tries = method === "POST" ? 1 : TRIES; ; ) {
      try {
        return await this._signed(method, path + query, { json: body, signal, timeout });
      } catch (error) {
        const pause = mayPass(error) ? ((error.retryAfter ?? 0) * 1000 || FIRST_PAUSE * 2 ** (TRIES - tries)) : 0;
        if (!pause || --tries <= 0 || pause > LONGEST_WAIT) throw error;
        await sleep(pause * (1 + Math.random() / 2), signal).catch(() => {
          throw cancelled();
        });
      }
    }
  }

  async upload(conversationId: string, file: Blob, options: UploadOptions): Promise<Attachment> {
    const form = new FormData();
    form.append("file", file, options.name ?? (file as File).name ?? "file");
    const more = { form, timeout: UPLOAD, signal: options.signal, onProgress: options.onProgress };
    return dataOf(await this._signed("POST", `/chat/conversations/${conversationId}/attachments`, more), this.base);
  }

  /** Sign in, store the tokens, call `done` with the id of the user, and return the user. */
  async signIn(email: string, password: string, done: (id: string) => void): Promise<Json> {
    if (this.closed) throw closed();
    const data = dataOf(await this.send("POST", "/api/v1/auth/login", { json: { email, password } }), this.base);
    if (typeof data.user?.id !== "string") throw notHere(this.base);
    await this.session.keep(data, () => done(data.user.id));
    return data.user;
  }

  /** Return the server's version. Throws WrongServer, WrongVersion or OriginRefused. */
  async checkServer(): Promise<string> {
    const health = await this.send("GET", "/health").catch(async (error: unknown) => {
      throw error instanceof Unreachable && (await this._answersOthers()) ? this.refusedOrigin() : error;
    });
    if (health?.status !== "ok" || typeof health.version !== "string") throw notHere(this.base);
    if (health.version.split(".")[0] !== String(SERVER_MAJOR))
      throw new WrongVersion(
        `The server has version ${health.version}; this client works with ${SERVER_MAJOR}.x. Update the client.`,
      );
    return health.version;
  }

  refusedOrigin(): OriginRefused {
    return new OriginRefused("The server does not accept sockets of this origin. Add it to its FRONTEND_URL.");
  }

  /** Return whether a server answers. A browser reports a hidden answer of another origin like a missing one. */
  private async _answersOthers(): Promise<boolean> {
    if (!globalThis.document) return false;
    const options = { mode: "no-cors", signal: AbortSignal.timeout(ANSWER) } as const;
    return fetch(`${this.base}/health`, options).then(() => true, () => false);
  }

  private async _signed(method: string, path: string, request: Request): Promise<Json> {
    if (this.closed) throw closed();
    const token = await this.token(request);
    try {
      return await this.send(method, `/api/v1${path}`, { ...request, token });
    } catch (error) {
      if (!(error instanceof NotSignedIn)) throw error; // otherwise nothing was done
      return this.send(method, `/api/v1${path}`, { ...request, token: await this.token(request, token) });
    }
  }

  /** Return an access token, within the time and the signal of a request. A refresh continues without it. */
  token({ signal, timeout = ANSWER }: Request, refused?: string): Promise<string> {
    const late = () => new Unreachable(`${this.base} has not renewed the tokens within ${timeout / 1000} s. Check the network.`);
    return within(this.session.token(refused), timeout, late, signal).catch((error: unknown) => {
      throw signal?.aborted ? cancelled() : error;
    });
  }

  /** Refresh the tokens. Retry at once without an answer: the server accepts the same token for ten more seconds. */
  private async _refresh(refreshToken: string): Promise<Json> {
    for (let tries = TRIES; ; ) {
      try {
        const options = { json: { refreshToken }, timeout: REFRESH };
        return dataOf(await this.send("POST", "/api/v1/auth/refresh", options), this.base);
      } catch (error) {
        if (!(error instanceof Unreachable || error instanceof Unavailable) || --tries <= 0) throw error;
        await sleep(FIRST_PAUSE);
      }
    }
  }

  async send(method: string, path: string, request: Request = {}): Promise<Json> {
    const { json, form, token, signal, onProgress, timeout = ANSWER } = request;
    if (signal?.aborted) throw cancelled();
    const headers: Record<string, string> = json === undefined ? {} : { "Content-Type": "application/json" };
    if (token) headers.Authorization = `Bearer ${token}`;
    const body = form ?? (json === undefined ? null : JSON.stringify(json));
    const limit = AbortSignal.timeout(timeout);
    // A redirect would change the method, and sockets cannot follow it: it is an answer of another server.
    const options: FormOptions = { method, headers, body, redirect: "manual", signal: signal ? AbortSignal.any([signal, limit]) : limit };
    let response: Response;
    try {
      response = await (form
        ? sendForm(this.base + path, options, form, onProgress)
        : fetch(this.base + path, options));
      const text = await response.text();
      return this._read(response, text);
    } catch (error) {
      if (signal?.aborted) throw cancelled();
      throw explain(error, this.base);
    }
  }

  private _read(response: Response, text: string): Json {
    let body: Json;
    try {
      body = JSON.parse(text);
    } catch {}
    if (response.ok && body !== undefined) return body;
    if (response.ok) throw notHere(this.base);
    const { status } = response;
    const after = Number(response.headers.get("Retry-After"));
    if (!body?.code && (status >= 500 || status === 408 || status === 429)) // an error page of a proxy
      throw new Unavailable("The server is not ready. Try again in a moment.", { status, retryAfter: after || undefined });
    throw errorOf(body?.code && after ? { retryAfter: after, ...body } : body, status);
  }
}

/** Return the `data` of an answer. Throws WrongServer if it is not an object. */
export function dataOf(answer: Json, base: string): Json {
  const data = answer?.data;
  if (!data || typeof data !== "object") throw notHere(base);
  return data;
}

export const closed = (): Closed => new Closed("The client is closed.");

const cancelled = (): Aborted => new Aborted("The call was cancelled.");

// Without a user, a query or a fragment, to which no path could be added.
const BASE = /^https?:\/\/[^\s\x00-\x20\x7f/?#@\\]+(\/[^\s\x00-\x20\x7f?#\\]*)?$/i;

/** Return a base URL without its last slashes. */
function normalBase(text: string): string {
  try {
    const url = new URL(text);
    if (BASE.test(text) && url.port !== "0") return url.href.replace(/\/+$/, "");
  } catch {}
  throw new WrongServer(`${JSON.stringify(text)} is not a base URL. Write it as https://api.example.com.`);
}

/** Return the typed error of a failed connection: the certificate, or the network. */
export function explain(error: unknown, base: string): EncerError {
  if (error && typeof error === "object" && "details" in error) return error as EncerError;
  const cause = (error as { cause?: { code?: string; message?: string } })?.cause;
  if (/CERT|SELF_SIGNED|UNABLE_TO_(GET|VERIFY)/.test(cause?.code ?? ""))
    return new CertificateRefused(`The certificate of ${base} is not accepted: ${cause?.message}. Check the base URL.`);
  if (/WRONG_VERSION/.test(cause?.code ?? "")) return new WrongServer(`${base} does not answer with TLS. Check the base URL.`);
  return new Unreachable(`${base} does not answer. Check the network and the base URL.`);
}

type FormOptions = RequestInit & { headers: Record<string, string>; signal: AbortSignal };

/** Works like fetch, which in Node cannot cancel a form without an uncatchable exception. Browsers report progress of
 * XMLHttpRequest only; Node reads a body in pieces while it sends it. */
async function sendForm(
  url: string,
  options: FormOptions,
  form: FormData,
  onProgress: (sent: number) => void = () => undefined,
): Promise<Response> {
  if (!globalThis.XMLHttpRequest) {
    const boundary = `encer-${Math.random().toString(36).slice(2)}`;
    const headers = { ...options.headers, "Content-Type": `multipart/form-data; boundary=${boundary}` };
    const body = parts(form.get("file") as File, boundary, onProgress) as unknown as BodyInit;
    return fetch(url, { ...options, headers, body, duplex: "half" } as RequestInit);
  }
  return new Promise((resolve, reject) => {
    const call = new XMLHttpRequest();
    call.open("POST", url);
    for (const [name, value] of Object.entries(options.headers)) call.setRequestHeader(name, value);
    call.upload.onprogress = (event) => onProgress(event.loaded);
    call.onload = () => resolve(new Response(call.responseText, { status: call.status }));
    call.onerror = call.onabort = () => reject(new TypeError("failed"));
    options.signal.addEventListener("abort", () => call.abort(), { once: true });
    call.send(form);
  });
}

/** Yield a form with one file in pieces; names are escaped as browsers do. */
async function* parts(file: File, boundary: string, onProgress: (sent: number) => void): AsyncGenerator<Uint8Array> {
  const encoder = new TextEncoder();
  const escapes: Record<string, string> = { '"': "%22", "\r": "%0D", "\n": "%0A" };
  const name = file.name.replace(/["\r\n]/g, (char) => escapes[char]!);
  const head = `--${boundary}\r\nContent-Disposition: form-data; name="file"; filename="${name}"\r\n`;
  yield encoder.encode(`${head}Content-Type: application/octet-stream\r\n\r\n`);
  for (let start = 0; start < file.size; start += CHUNK) {
    yield new Uint8Array(await file.slice(start, start + CHUNK).arrayBuffer());
    onProgress(Math.min(file.size, start + CHUNK));
  }
  yield encoder.encode(`\r\n--${boundary}--\r\n`);
}
