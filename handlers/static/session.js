// Sign in, and keep the access token fresh. Tokens live in memory only, so a reload of the page forgets them.
export const ROOT = new URL("../../", import.meta.url); // of the server, behind whatever prefix a proxy adds
const RENEW_BEFORE_MS = 30_000;

export class ApiError extends Error {
  constructor(status, body) {
    super(body.message || body.error || `The server answered ${status}.`);
    this.status = status;
    this.code = body.code;
  }
}

export async function call(method, path, { body, token } = {}) {
  let response;
  try {
    response = await fetch(new URL(`api/v1/${path}`, ROOT), {
      method,
      headers: { ...(body && { "Content-Type": "application/json" }), ...(token && { Authorization: `Bearer ${token}` }) },
      body: body && JSON.stringify(body),
    });
  } catch {
    throw new ApiError(0, { message: "The server does not answer. Check that it runs, then try again." });
  }
  const answer = await response.json().catch(() => ({}));
  if (!response.ok) throw new ApiError(response.status, answer);
  return answer;
}

export class Session {
  constructor(answer) {
    this.user = answer.user;
    this.renewing = null;
    this.keep(answer);
  }

  static async signIn(email, password) {
    return new Session(await call("POST", "auth/login", { body: { email, password } }));
  }

  keep({ accessToken, refreshToken, expiresIn }) {
    Object.assign(this, { accessToken, refreshToken, renewAt: Date.now() + expiresIn * 1000 - RENEW_BEFORE_MS });
  }

  // A token that is still good for a while. Throws ApiError when the session has ended.
  async token({ fresh = false } = {}) {
    if (fresh || Date.now() >= this.renewAt) await this.renew();
    return this.accessToken;
  }

  // A refresh token works once, so callers at the same time share one renewal.
  async renew() {
    this.renewing ??= call("POST", "auth/refresh", { body: { refreshToken: this.refreshToken } })
      .then((answer) => this.keep(answer))
      .catch((error) => {
        throw error.status === 401 ? new ApiError(401, { message: "Your session has ended. Sign in again to go on.", code: "SESSION_ENDED" }) : error;
      })
      .finally(() => { this.renewing = null; });
    return this.renewing;
  }

  async call(method, path, body) {
    return call(method, path, { body, token: await this.token() });
  }
}
