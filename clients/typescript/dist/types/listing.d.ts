import type { Encer } from "./encer.js";
/** Lists the conversations when asked; several requests during a listing lead to one more. */
export declare class Listing {
    private _encer;
    private _running;
    private _isCurrent;
    constructor(_encer: Encer);
    /** The chat continues if this fails. */
    ask(): Promise<void>;
    private _listPages;
}
