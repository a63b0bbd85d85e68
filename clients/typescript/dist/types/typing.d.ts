export declare class Typing {
    private _send;
    private _emit;
    private _sentAt;
    private _ending;
    private _others;
    constructor(_send: (event: string) => boolean, _emit: (userId: string, typing: boolean) => void);
    key(): void;
    stop(): void;
    /** A message ends its sender's typing on the server too. */
    sent(): void;
    receive(userId: string, typing: boolean): void;
    offline(): void;
}
