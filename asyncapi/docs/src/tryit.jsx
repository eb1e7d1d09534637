import { memo } from "preact/compat";
import { useEffect, useLayoutEffect, useRef, useState } from "preact/hooks";
import { useSocket } from "./socket.js";
import { Json } from "./text.jsx";

// TryIt is a panel that connects to a channel, sends messages and shows all frames.
export function TryIt({ channels, servers, messages, message, onMessage, onClose }) {
  const [channel, setChannel] = useState(channels[0][1]);
  const [query, setQuery] = useState({});
  const [text, setText] = useState("");
  const socket = useSocket();
  const isOpen = socket.state === "open";
  useEffect(() => setText(exampleOf(message)), [message]);
  const send = (event) => {
    event.preventDefault();
    if (isOpen) socket.send(text);
  };
  return (
    <aside id="try" aria-label="Try it" onKeyDown={({ key }) => key === "Escape" && onClose()}>
      <header>
        <h2>Try it</h2>
        <button onClick={onClose} aria-label="Close">✕</button>
      </header>
      <p class="warning">This talks to the real server as you: questions reach its language model, which may cost money.</p>
      <form class="connect" onSubmit={(event) => { event.preventDefault(); socket.open(addressOf(channel, servers, query)); }}>
        {channels.length > 1 && (
          <select aria-label="Channel" disabled={socket.state !== "closed"} onChange={({ target }) => setChannel(channels[target.selectedIndex][1])}>
            {channels.map(([name]) => <option key={name}>{name}</option>)}
          </select>
        )}
        {Object.keys(channel.bindings.ws.query?.properties ?? {}).map((name) => (
          <input key={name} placeholder={name} aria-label={name} value={query[name] ?? ""} disabled={socket.state !== "closed"} onInput={({ target }) => setQuery({ ...query, [name]: target.value })} />
        ))}
        <output data-state={socket.state}>{isOpen ? "Connected" : socket.state === "connecting" ? "Connecting …" : socket.note || "Not connected"}</output>
        {socket.state === "closed"
          ? <button class="primary" id="connect">Connect</button>
          : <button type="button" id="disconnect" onClick={() => socket.close()}>Disconnect</button>}
      </form>
      <form class="compose" onSubmit={send}>
        <select id="message" aria-label="Message" value={message.name} onChange={({ target }) => onMessage(messages[target.selectedIndex])}>
          {messages.map(({ name }) => <option key={name} value={name}>{name}</option>)}
        </select>
        <textarea id="frame" aria-label="Frame" spellcheck={false} rows={7} value={text}
          onInput={({ target }) => setText(target.value)} onKeyDown={(event) => event.key === "Enter" && (event.ctrlKey || event.metaKey) && send(event)} />
        <p>
          <span class="hint">{parse(text) === undefined ? "This is not valid JSON." : "Ctrl + Enter sends"}</span>
          <button class="primary" id="send" disabled={!isOpen}>Send</button>
        </p>
      </form>
      <Frames frames={socket.frames} onClear={() => socket.clear()} />
    </aside>
  );
}

// addressOf is the channel's URL: on this very site, whatever host the document names for it, or on another one.
function addressOf(channel, servers, query) {
  const [server] = channel.servers ?? servers;
  const isSecure = server["x-other-site"] ? server.protocol === "wss" : location.protocol === "https:";
  const url = new URL(`${isSecure ? "wss" : "ws"}://${server["x-other-site"] ? server.host : location.host}`);
  url.pathname = channel.address;
  for (const [name, value] of Object.entries(query)) if (value) url.searchParams.set(name, value);
  return url;
}

// exampleOf is the example that says most: the last.
function exampleOf(message) {
  return JSON.stringify(message.examples.at(-1).payload, null, 2);
}

// parse returns undefined for what is no JSON.
function parse(text) {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}

// Frames follows what happens as long as its end is in view.
function Frames({ frames, onClear }) {
  const list = useRef();
  const atEnd = useRef(true);
  useLayoutEffect(() => {
    if (atEnd.current) list.current.scrollTop = list.current.scrollHeight;
  }, [frames]);
  const onScroll = ({ target }) => (atEnd.current = target.scrollHeight - target.scrollTop - target.clientHeight < 24);
  return (
    <section class="frames">
      <header><h3>Frames</h3>{frames.length > 0 && <button onClick={onClear}>Clear</button>}</header>
      <div role="log" ref={list} onScroll={onScroll} tabIndex={0}>
        {frames.length === 0 && <p class="none">Nothing yet. Connect, then send a message.</p>}
        {frames.map((frame) => <Frame key={frame.id} {...frame} />)}
      </div>
    </section>
  );
}

const Frame = memo(({ sent, at, text }) => {
  const frame = parse(text) ?? text;
  return (
    <details class={sent ? "sent" : "received"}>
      <summary>
        <span class="arrow" title={sent ? "sent" : "received"}>{sent ? "↑" : "↓"}</span>
        <b>{String(frame?.action ?? "")}</b> <span class="brief">{brief(frame)}</span>
        <time>{at.toTimeString().slice(0, 8)}</time>
      </summary>
      <Json value={frame} />
    </details>
  );
});

// brief is the part of a frame by which one tells it from its neighbours.
function brief(frame) {
  if (!frame?.action) return JSON.stringify(frame);
  return JSON.stringify(frame.payload?.content || frame.payload) ?? "";
}
