export declare class Typing {
    private tell;
    private emit;
    private toldAt;
    private ending;
    private others;
    constructor(tell: (event: string) => boolean, emit: (userId: string, typing: boolean) => void);
    key(): void;
    stop(): void;
    /** A message ends its sender's typing on the server too. */
    sent(): void;
    receive(userId: string, typing: boolean): void;
    offline(): void;
}
