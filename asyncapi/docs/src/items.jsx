import { Payload, Properties } from "./schema.jsx";
import { Copy, Json, Markdown } from "./text.jsx";

export function Channel({ name, channel, servers }) {
  const { query, headers } = channel.bindings.ws;
  return (
    <article id={`channel-${name}`}>
      <h3>{name}</h3>
      {servers.map(({ protocol, host }) => <Address key={host} url={`${protocol}://${host}${channel.address}`} />)}
      <Markdown>{channel.description}</Markdown>
      {query && <><h4>Parameters of the URL</h4><Properties schema={query} /></>}
      {headers && <><h4>Headers</h4><Properties schema={headers} /></>}
      <div class="tables">
        <Table title="Limits" values={channel["x-limits"]} />
        <Table title="Handshake refused with" values={channel["x-handshake-refusals"]} />
        <Table title="Connection closed with" values={channel["x-close-codes"]} />
      </div>
    </article>
  );
}

function Address({ url }) {
  return <p class="address"><code>{url}</code><Copy text={url} /></p>;
}

function Table({ title, values }) {
  return values && (
    <table>
      <caption>{title}</caption>
      <tbody>
        {Object.entries(values).map(([name, value]) => <tr key={name}><th scope="row">{name}</th><td>{value.toLocaleString("en")}</td></tr>)}
      </tbody>
    </table>
  );
}

// Envelope has what all frames of one direction may have beside the action and the payload.
export function Envelope({ message }) {
  const { action, payload, ...properties } = message.payload.properties;
  return (
    <details class="envelope">
      <summary>Besides <code>action</code> and <code>payload</code>, every frame can have <code>{Object.keys(properties).join(", ")}</code></summary>
      <Properties schema={{ properties }} />
    </details>
  );
}

export function Operation({ name, operation, onTry }) {
  const [message] = operation.messages;
  return (
    <article id={`operation-${name}`}>
      <header>
        <h3>{message.name}</h3>
        <span class="id">{name}</span>
        {onTry && <button onClick={() => onTry(message)}>Try it</button>}
      </header>
      <p class="summary">{operation.summary}</p>
      <Markdown>{operation.description}</Markdown>
      <Frame message={message} />
      {operation.reply && <Replies messages={operation.reply.messages} />}
    </article>
  );
}

function Replies({ messages }) {
  return (
    <p class="replies">
      <span>Answered by</span>
      {messages.map(({ name, summary }) => <a key={name} href={`#message-${name}`} title={summary}>{name}</a>)}
    </p>
  );
}

export function Message({ message }) {
  return (
    <article id={`message-${message.name}`}>
      <header>
        <h3>{message.name}</h3>
        <span class="id">{message.payload.title}</span>
      </header>
      <Markdown>{message.summary}</Markdown>
      <Frame message={message} />
    </article>
  );
}

// Frame shows a message's payload beside examples of the whole frame.
function Frame({ message }) {
  const { properties, required } = message.payload;
  const [first, ...others] = message.examples;
  return (
    <div class="frame">
      {properties.payload
        ? <Payload schema={properties.payload} required={required.includes("payload")} />
        : <p class="none">No payload.</p>}
      <div>
        <Example frame={first.payload} />
        {others.map(({ name, summary, payload }) => (
          <details key={name}>
            <summary>{summary}</summary>
            <Example frame={payload} />
          </details>
        ))}
      </div>
    </div>
  );
}

function Example({ frame }) {
  return <div class="example"><Json value={frame} /><Copy text={JSON.stringify(frame)} /></div>;
}
