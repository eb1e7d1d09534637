import { useEffect, useRef, useState } from "preact/hooks";

// keep is how many frames stay in view; older ones go.
const keep = 1000;

// useSocket is a WebSocket for a component, which is drawn again whenever something has happened.
export function useSocket() {
  const [, redraw] = useState({});
  const ref = useRef();
  ref.current ??= new Socket(() => redraw({}));
  useEffect(() => () => ref.current.close(), []);
  return ref.current;
}

class Socket {
  state = "closed"; // closed, connecting, open
  note = ""; // how the connection ended
  frames = []; // {id, sent, at, text}
  #socket;
  #changed;
  #drawing = false;
  #count = 0;

  constructor(changed) {
    this.#changed = changed;
  }

  open(url) {
    const socket = (this.#socket = new WebSocket(url));
    this.#set("connecting", "");
    socket.onopen = () => this.#set("open", "");
    socket.onmessage = ({ data }) => this.#add(false, data);
    socket.onclose = ({ code, reason }) => {
      if (socket !== this.#socket) return;
      this.#set("closed", code === 1006 && this.frames.length === 0 ? "The server refused the connection." : `Closed: ${code} ${reason}`);
    };
  }

  send(text) {
    this.#socket.send(text);
    this.#add(true, text);
  }

  close() {
    this.#socket?.close(1000);
  }

  clear() {
    this.frames = [];
    this.#draw();
  }

  #set(state, note) {
    Object.assign(this, { state, note });
    this.#draw();
  }

  #add(sent, text) {
    this.frames = [...this.frames.slice(1 - keep), { id: this.#count++, sent, at: new Date(), text }];
    this.#draw();
  }

  // draw draws once for all that happens until the browser draws.
  #draw() {
    if (this.#drawing) return;
    this.#drawing = true;
    requestAnimationFrame(() => {
      this.#drawing = false;
      this.#changed();
    });
  }
}
