// One signed-in WebSocket: frames with answers, pings, a bound on what is sent and awaited.

import { sleep } from "./emitter.js";
import type { EncerOptions } from "./encer.js";
import { Closed, type EncerError, errorOf, TooLarge, Unreachable, WrongServer } from "./errors.js";
import type { Json } from "./rest.js";

export const OPEN = 5_000; // for the handshake and `ready`
const ANSWER = 10_000; // for a command; the server needs milliseconds
const PONG = 5_000;
const HEARTBEAT = [1_000, 60_000] as const; // the least and most that the server may request
const MAX_FRAME = 64 * 1024; // bytes that the server accepts
const PENDING = 500; // commands that wait for their answer: 100 conversations, with several each

/** Delays frames to stay below the server's limits: 20 a second, and 60 at once (docs/realtime.md). */
class Pace {
  private _left: number;
  private _at = performance.now();

  constructor(private _rate = 16, private _burst = 50) {
    this._left = _burst;
  }

  /** Count a frame; return the milliseconds to wait before it may be sent. */
  wait(): number {
    const now = performance.now();
    this._left = Math.min(this._burst, this._left + ((now - this._at) / 1000) * this._rate) - 1;
    this._at = now;
    return Math.max(0, (-this._left / this._rate) * 1000);
  }
}

interface Answer {
  resolve(data: Json): void;
  reject(error: unknown): void;
  then: ((data: Json) => void) | undefined;
  timer?: ReturnType<typeof setTimeout>;
}

export class Socket {
  private _numbers = 0;
  private _answers = new Map<number, Answer>();
  private _ended = new AbortController(); // aborted when the socket has closed
  readonly signal = this._ended.signal;
  /** Resolves with the close code; undefined if the client dropped it or no server closed it. */
  readonly closed: Promise<number | undefined>;
  /** Why the client dropped it: the server sends frames of another protocol. */
  failure: EncerError | undefined;
  onEvent: (name: string, data: Json) => void = () => undefined;

  private constructor(private _ws: WebSocket, private _pace: Pace) {
    this.closed = new Promise((resolve) => {
      _ws.onclose = ({ code }) => {
        resolve(this.signal.aborted || code === 1006 ? undefined : code);
        this._end();
      };
      this.signal.addEventListener("abort", () => resolve(undefined));
    });
    _ws.onmessage = ({ data }) => this._receive(data as string);
  }

  /** Resolves with the socket and the data of `ready`, or with the close code of a refusal. */
  static open(
    base: string, token: string, options: EncerOptions, on: (socket: Socket, ready: Json) => void,
  ): Promise<Socket> {
    return new Promise((resolve, reject) => {
      const ws = new (options.WebSocket ?? WebSocket)(`ws${base.slice(4)}/ws`, ["encer.v1", `bearer.${token}`]);
      const socket = new Socket(ws, new Pace(...(options.pace ?? [])));
      const unreachable = (): void => reject(new Unreachable(`${base} does not open a socket. Check the network.`));
      const timer = setTimeout(() => {
        socket.drop();
        unreachable();
      }, OPEN);
      socket.onEvent = (name, data) => {
        clearTimeout(timer);
        if (name !== "ready") throw new TypeError(name);
        on(socket, data);
        resolve(socket);
      };
      let opened = false;
      ws.onopen = () => (opened = true);
      void socket.closed.then((code) => {
        clearTimeout(timer);
        if (socket.failure) reject(socket.failure);
        else if (opened && code !== undefined) resolve(socket);
        else unreachable();
      });
    });
  }

  /** Handle a frame. One that is not as described ends the client. */
  private _receive(text: string): void {
    try {
      const { event, data, id }: { event: string; data: Json; id?: number } = JSON.parse(text);
      if (!data || typeof data !== "object") throw new TypeError("data");
      if (id === undefined) return this.onEvent(event, data);
      const answer = this._answers.get(id);
      if (event !== "error") answer?.then?.(data); // before the next frame is read
      this._answers.delete(id);
      clearTimeout(answer?.timer);
      if (event === "error") answer?.reject(errorOf(data));
      else answer?.resolve(data);
    } catch {
      this.failure = new WrongServer("The server sends frames of another protocol. Check the base URL.");
      this.drop();
    }
  }

  /** Send a command and return the data of its answer; `then` gets it before later events are handled.
   * Rejects with the server's error, or Closed. A socket that does not answer in time is dead, so it is dropped. */
  async ask(event: string, data: Json = {}, then?: (data: Json) => void, timeout = ANSWER): Promise<Json> {
    if (this.signal.aborted || this._answers.size >= PENDING) throw gone();
    const id = ++this._numbers;
    const answered = new Promise<Json>((resolve, reject) => this._answers.set(id, { resolve, reject, then }));
    answered.catch(() => undefined);
    await this.send(event, data, id);
    const answer = this._answers.get(id);
    if (answer) answer.timer = setTimeout(() => this.drop(), timeout);
    return answered;
  }

  /** Send a frame. */
  async send(event: string, data: Json = {}, id?: number): Promise<void> {
    const frame = JSON.stringify({ event, data, id });
    if (new Blob([frame]).size > MAX_FRAME) {
      this._answers.delete(id ?? 0);
      throw new TooLarge("The frame is larger than 64 KiB. Send a shorter message.");
    }
    const wait = this._pace.wait();
    if (wait) await sleep(wait, this.signal);
    if (this.signal.aborted) throw gone();
    this._ws.send(frame);
  }

  /** Check that the server still answers; otherwise drop the socket. */
  ping(): Promise<Json> {
    return this.ask("ping", {}, undefined, PONG);
  }

  /** Ping until the socket closes. */
  async heartbeat(pause: number): Promise<void> {
    for (;;) {
      await sleep(Math.min(Math.max(pause, HEARTBEAT[0]), HEARTBEAT[1]), this.signal);
      await this.ping();
    }
  }

  /** Close without waiting for the other side, which may be unreachable. */
  drop(): void {
    this._end();
    this._ws.close();
  }

  private _end(): void {
    this._ws.onmessage = null;
    this._ended.abort(gone());
    for (const answer of this._answers.values()) {
      clearTimeout(answer.timer);
      answer.reject(gone());
    }
    this._answers.clear();
  }
}

/** Refuse a frame in which one of these is not a number. */
export function checkNumbers(...values: unknown[]): void {
  if (!values.every(Number.isInteger)) throw new TypeError("The server sent no number.");
}

const gone = (): Closed => new Closed("The socket was closed before the answer arrived.");
