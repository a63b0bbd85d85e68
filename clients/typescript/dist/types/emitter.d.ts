export declare class Emitter<Events> {
    private listeners;
    /** Call `listener(data)` at each event of this name; return a function that ends it. */
    on<Name extends keyof Events>(name: Name, listener: (data: Events[Name]) => unknown): () => void;
    emit<Name extends keyof Events>(name: Name, data: Events[Name]): void;
}
export declare const LONGEST_TIMER: number;
/** Wait, or reject with `signal.reason` at once when it is aborted. */
export declare function sleep(ms: number, signal?: AbortSignal): Promise<void>;
