export interface Detail {
    field: string;
    message: string;
}
export interface ErrorFields {
    code?: string;
    details?: Detail[];
    retryAfter?: number | undefined;
    status?: number | undefined;
}
/** `message` is a sentence for people; `code` is for programs; `details` lists invalid fields. */
export declare class EncerError extends Error {
    static readonly code: string;
    readonly code: string;
    readonly details: Detail[];
    readonly retryAfter: number | undefined;
    readonly status: number | undefined;
    constructor(sentence: string, fields?: ErrorFields);
    get name(): string;
}
/** There are no tokens, or the server does not accept them. Sign in again. */
export declare class NotSignedIn extends EncerError {
    static readonly code: string;
}
export declare class WrongCredentials extends NotSignedIn {
    static readonly code = "INVALID_CREDENTIALS";
}
/** The user was logged out, suspended or deleted. */
export declare class SessionEnded extends NotSignedIn {
    static readonly code = "SESSION_ENDED";
}
export declare class AccountSuspended extends EncerError {
    static readonly code = "ACCOUNT_SUSPENDED";
}
export declare class NotAllowed extends EncerError {
    static readonly code = "FORBIDDEN";
}
export declare class NotFound extends EncerError {
    static readonly code = "NOT_FOUND";
}
/** The request is malformed or a field is invalid; `details` says which. */
export declare class Invalid extends EncerError {
    static readonly code: string;
}
/** The message, frame or file is over the limit. */
export declare class TooLarge extends Invalid {
    static readonly code = "BODY_TOO_LARGE";
}
export declare class Conflict extends EncerError {
    static readonly code = "CONFLICT";
}
/** Wait `retryAfter` seconds. */
export declare class RateLimited extends EncerError {
    static readonly code = "RATE_LIMITED";
}
/** Too many joined conversations or open sockets. */
export declare class TooMany extends EncerError {
    static readonly code = "TOO_MANY";
}
/** The server cannot serve the request now. The same request may succeed later. */
export declare class Unavailable extends EncerError {
    static readonly code = "NOT_READY";
}
/** The server does not answer. */
export declare class Unreachable extends EncerError {
    static readonly code = "UNREACHABLE";
}
/** The server's certificate is not valid. Browsers do not report this; there it is `Unreachable`. */
export declare class CertificateRefused extends EncerError {
    static readonly code = "CERTIFICATE_REFUSED";
}
/** The base URL does not lead to a Beautiful Encer server. */
export declare class WrongServer extends EncerError {
    static readonly code = "WRONG_SERVER";
}
/** The server's version does not fit this client. */
export declare class WrongVersion extends EncerError {
    static readonly code = "WRONG_VERSION";
}
/** The server does not accept calls and sockets of this web origin. */
export declare class OriginRefused extends EncerError {
    static readonly code = "ORIGIN_REFUSED";
}
/** Too many messages wait to be sent. */
export declare class OutboxFull extends EncerError {
    static readonly code = "OUTBOX_FULL";
}
/** A message was not confirmed in time. Sending it again with the same clientMessageId stores it once. */
export declare class SendTimeout extends EncerError {
    static readonly code = "SEND_TIMEOUT";
}
/** The program cancelled the call by its AbortSignal. */
export declare class Aborted extends EncerError {
    static readonly code = "ABORTED";
}
/** The client or its socket is closed. */
export declare class Closed extends EncerError {
    static readonly code = "CLOSED";
}
/** Return the error that an answer of the server describes: `{error, message, code, details?, retryAfter?}`. */
export declare function errorOf(body: unknown, status?: number): EncerError;
/** Return whether the same request may succeed later. */
export declare const mayPass: (error: unknown) => error is EncerError;
export declare const notHere: (base: string, status?: number) => WrongServer;
