// The connection of one person: it reports every frame, and can be cut like a network.

export class Line {
  // `onFrame({direction, event, text})` is called for each frame that is sent or received, and for the close.
  constructor(onFrame) {
    this.isCut = false;
    const line = this;
    this.WebSocket = class extends WebSocket {
      constructor(url, protocols) {
        super(url, protocols);
        line.socket = this;
        this.addEventListener("open", () => { this.wasOpen = true; });
        this.addEventListener("message", ({ data }) => onFrame({ direction: "received", event: JSON.parse(data).event, text: data }));
        this.addEventListener("close", ({ code, reason }) => {
          if (this.wasOpen) onFrame({ direction: "received", event: `close ${code}`, text: JSON.stringify({ code, reason }) });
        });
        if (line.isCut) this.close();
      }

      send(text) {
        super.send(text);
        onFrame({ direction: "sent", event: JSON.parse(text).event, text });
      }
    };
  }

  cut() {
    this.isCut = true;
    this.socket?.close();
  }

  mend() {
    this.isCut = false;
  }
}
