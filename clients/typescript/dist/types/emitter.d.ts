export declare class Emitter<Events> {
    private _listeners;
    /** Call `listener(data)` at each event of this name; return a function that ends it. */
    on<Name extends keyof Events>(name: Name, listener: (data: Events[Name]) => unknown): () => void;
    emit<Name extends keyof Events>(name: Name, data: Events[Name]): void;
}
export declare const LONGEST_TIMER: number;
/** Wait, or reject with `signal.reason` at once when it is aborted. */
export declare function sleep(ms: number, signal?: AbortSignal): Promise<void>;
/** Return what `work` resolves to. Rejects with `late()` after `ms`, or with `signal.reason` when it is aborted. */
export declare function within<T>(work: Promise<T>, ms: number, late: () => Error, signal?: AbortSignal): Promise<T>;
