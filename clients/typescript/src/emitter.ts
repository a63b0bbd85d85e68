// Events: typed listeners by name.

export class Emitter<Events> {
  private _listeners = new Map<keyof Events, Set<(data: never) => unknown>>();

  /** Call `listener(data)` at each event of this name; return a function that ends it. */
  on<Name extends keyof Events>(name: Name, listener: (data: Events[Name]) => unknown): () => void {
    const listeners = this._listeners.get(name) ?? new Set();
    this._listeners.set(name, listeners.add(listener));
    return () => void listeners.delete(listener);
  }

  emit<Name extends keyof Events>(name: Name, data: Events[Name]): void {
    // An error of a listener must not end the connection, also if the listener is async.
    const failed = (error: unknown): void => console.error(`A listener of "${String(name)}" failed.`, error);
    for (const listener of [...(this._listeners.get(name) ?? [])]) {
      try {
        Promise.resolve((listener as (data: Events[Name]) => unknown)(data)).catch(failed);
      } catch (error) {
        failed(error);
      }
    }
  }
}

export const LONGEST_TIMER = 2 ** 31 - 1; // of setTimeout

/** Wait, or reject with `signal.reason` at once when it is aborted. */
export function sleep(ms: number, signal?: AbortSignal): Promise<void> {
  return new Promise((resolve, reject) => {
    const end = (): void => {
      clearTimeout(timer);
      reject(signal?.reason);
    };
    if (signal?.aborted) return reject(signal.reason);
    const timer = setTimeout(() => {
      signal?.removeEventListener("abort", end);
      resolve();
    }, ms);
    signal?.addEventListener("abort", end, { once: true });
  });
}

/** Return what `work` resolves to. Rejects with `late()` after `ms`, or with `signal.reason` when it is aborted. */
export function within<T>(work: Promise<T>, ms: number, late: () => Error, signal?: AbortSignal): Promise<T> {
  const found = new AbortController();
  const limit = sleep(ms, AbortSignal.any([found.signal, ...(signal ? [signal] : [])])).then(() => {
    throw late();
  });
  return Promise.race([work, limit]).finally(() => found.abort());
}
