// Errors: one class per kind of failure, chosen by the `code` of the server's answer or by the client.

export interface Detail {
  field: string;
  message: string;
}

export interface ErrorFields {
  code?: string;
  details?: Detail[];
  retryAfter?: number | undefined; // seconds
  status?: number | undefined;
}

/** `message` is a sentence for people; `code` is for programs; `details` lists invalid fields. */
export class EncerError extends Error {
  static readonly code: string = "INTERNAL";
  readonly code: string;
  readonly details: Detail[];
  readonly retryAfter: number | undefined;
  readonly status: number | undefined;

  constructor(sentence: string, fields: ErrorFields = {}) {
    super(sentence);
    this.code = fields.code ?? (new.target as typeof EncerError).code;
    this.details = fields.details ?? [];
    this.retryAfter = fields.retryAfter;
    this.status = fields.status;
  }

  override get name(): string {
    return `EncerError ${this.code}`;
  }
}

/** There are no tokens, or the server does not accept them. Sign in again. */
export class NotSignedIn extends EncerError {
  static override readonly code: string = "NOT_AUTHENTICATED";
}
export class WrongCredentials extends NotSignedIn {
  static override readonly code = "INVALID_CREDENTIALS";
}
/** The user was logged out, suspended or deleted. */
export class SessionEnded extends NotSignedIn {
  static override readonly code = "SESSION_ENDED";
}
export class AccountSuspended extends EncerError {
  static override readonly code = "ACCOUNT_SUSPENDED";
}
export class NotAllowed extends EncerError {
  static override readonly code = "FORBIDDEN";
}
export class NotFound extends EncerError {
  static override readonly code = "NOT_FOUND";
}
/** The request is malformed or a field is invalid; `details` says which. */
export class Invalid extends EncerError {
  static override readonly code: string = "VALIDATION_ERROR";
}
/** The message, frame or file is over the limit. */
export class TooLarge extends Invalid {
  static override readonly code = "BODY_TOO_LARGE";
}
export class Conflict extends EncerError {
  static override readonly code = "CONFLICT";
}
/** Wait `retryAfter` seconds. */
export class RateLimited extends EncerError {
  static override readonly code = "RATE_LIMITED";
}
/** Too many joined conversations or open sockets. */
export class TooMany extends EncerError {
  static override readonly code = "TOO_MANY";
}
/** The server cannot serve the request now. The same request may succeed later. */
export class Unavailable extends EncerError {
  static override readonly code = "NOT_READY";
}

/** The server does not answer. */
export class Unreachable extends EncerError {
  static override readonly code = "UNREACHABLE";
}
/** The server's certificate is not valid. Browsers do not report this; there it is `Unreachable`. */
export class CertificateRefused extends EncerError {
  static override readonly code = "CERTIFICATE_REFUSED";
}
/** The base URL does not lead to a Beautiful Encer server. */
export class WrongServer extends EncerError {
  static override readonly code = "WRONG_SERVER";
}
/** The server's version does not fit this client. */
export class WrongVersion extends EncerError {
  static override readonly code = "WRONG_VERSION";
}
/** The server does not accept calls and sockets of this web origin. */
export class OriginRefused extends EncerError {
  static override readonly code = "ORIGIN_REFUSED";
}
/** Too many messages wait to be sent. */
export class OutboxFull extends EncerError {
  static override readonly code = "OUTBOX_FULL";
}
/** A message was not confirmed in time. Sending it again with the same clientMessageId stores it once. */
export class SendTimeout extends EncerError {
  static override readonly code = "SEND_TIMEOUT";
}
/** The program cancelled the call by its AbortSignal. */
export class Aborted extends EncerError {
  static override readonly code = "ABORTED";
}
/** The client or its socket is closed. */
export class Closed extends EncerError {
  static override readonly code = "CLOSED";
}

interface Kind {
  new (sentence: string, fields?: ErrorFields): EncerError;
  readonly code: string;
}

/** The classes of the server's answers, with codes beside the `code` of each class. */
const KINDS: [Kind, string?][] = [
  [NotSignedIn, "TOKEN_EXPIRED INVALID_TOKEN"],
  [WrongCredentials],
  [SessionEnded],
  [AccountSuspended],
  [NotAllowed, "WRONG_PASSWORD EMAIL_NOT_VERIFIED TERMS_NOT_ACCEPTED"],
  [NotFound],
  [TooLarge, "HEADERS_TOO_LARGE URI_TOO_LONG"],
  [
    Invalid,
    "BAD_REQUEST INVALID_JSON INVALID_OTP INVALID_FILE URL_REFUSED INVALID_FRAME UNKNOWN_EVENT UNSUPPORTED_MEDIA_TYPE METHOD_NOT_ALLOWED NOT_ACCEPTABLE",
  ],
  [Conflict, "EMAIL_TAKEN HANDLE_TAKEN CODE_NOT_FOUND PROFILE_PRIVATE PROFILE_RESTRICTED NEEDS_RECONNECT"],
  [RateLimited],
  [TooMany],
  [Unavailable, "INTERNAL BUSY REQUEST_TIMEOUT UPSTREAM_FAILED UPSTREAM_TIMEOUT NOT_CONFIGURED STORAGE_FULL"],
  [Closed],
];

/** Return the error that an answer of the server describes: `{error, message, code, details?, retryAfter?}`. */
export function errorOf(body: unknown, status?: number): EncerError {
  const answer = body as { error?: string; message?: string; code?: unknown; details?: Detail[]; retryAfter?: number };
  if (typeof answer?.code !== "string")
    return new WrongServer("The answer does not come from a Beautiful Encer server. Check the base URL.", { status });
  const { code } = answer;
  const sentences = [answer.error, answer.message].filter(Boolean).map((text) => String(text).replace(/\.+$/, ""));
  const retryAfter = Number(answer.retryAfter) > 0 ? Number(answer.retryAfter) : undefined;
  const fields: ErrorFields = { code, details: answer.details ?? [], retryAfter, status };
  const [kind] = KINDS.find(([kind, more]) => kind.code === code || more?.split(" ").includes(code)) ?? [EncerError];
  return new kind(`${[...new Set(sentences)].join(". ")}.`, fields);
}

/** Return whether the same request may succeed later. */
export const mayPass = (error: unknown): error is EncerError =>
  error instanceof Unreachable || error instanceof Unavailable || error instanceof RateLimited;

export const notHere = (base: string, status?: number): WrongServer =>
  new WrongServer(`There is no Beautiful Encer server at ${base}. Check the base URL.`, { status });
