export declare class Typing {
    private send;
    private emit;
    private sentAt;
    private ending;
    private others;
    constructor(send: (event: string) => boolean, emit: (userId: string, typing: boolean) => void);
    key(): void;
    stop(): void;
    /** A message ends its sender's typing on the server too. */
    sent(): void;
    receive(userId: string, typing: boolean): void;
    offline(): void;
}
