import { JSONSnippet, Markdown, Schema } from "@asyncapi/react-component/lib/esm/components/index.js";
import { useSpec } from "@asyncapi/react-component/lib/esm/contexts/index.js";
import { Schema as SchemaModel } from "@asyncapi/parser/esm/models/v3/schema.js";

export function Channel({ model: channel }) {
  const query = channel.bindings().get("ws")?.value().query;
  return (
    <>
      <h3>{channel.id()}</h3>
      {useSpec().servers().all().map((server) => (
        <p key={server.id()} className="address">{`${server.protocol()}://${server.host()}${channel.address()}`}</p>
      ))}
      <Markdown>{channel.description()}</Markdown>
      {query && <Expanded name="query" schema={new SchemaModel(query)} />}
      <Table title="Limits" values={channel.extensions().get("x-limits")?.value()} />
      <Table title="Close codes" values={channel.extensions().get("x-close-codes")?.value()} />
    </>
  );
}

function Table({ title, values }) {
  return values && (
    <table>
      <caption>{title}</caption>
      <tbody>
        {Object.entries(values).map(([name, value]) => <tr key={name}><th scope="row">{name}</th><td>{value}</td></tr>)}
      </tbody>
    </table>
  );
}

// Envelope has what all frames of one direction may have beside the action and the payload.
export function Envelope({ message }) {
  const { action, payload, ...envelope } = message.payload().properties();
  return (
    <div className="envelope">
      <p>Besides <code>action</code> and <code>payload</code>, every frame can have</p>
      {Object.entries(envelope).map(([name, schema]) => <Schema key={name} schemaName={name} schema={schema} isProperty />)}
    </div>
  );
}

export function Operation({ model: operation }) {
  return (
    <>
      <h3>{operation.id()}</h3>
      <p>{operation.summary()}</p>
      <Markdown>{operation.description()}</Markdown>
      {operation.messages().all().map((message) => <Frame key={message.id()} message={message} />)}
      {operation.hasReply() && <Replies messages={operation.reply().messages().all()} />}
    </>
  );
}

function Replies({ messages }) {
  return (
    <>
      <h4>Answered by</h4>
      <dl>
        {messages.map((message) => (
          <div key={message.id()}>
            <dt><a href={`#message-${message.id()}`}>{message.name()}</a></dt>
            <dd>{message.summary()}</dd>
          </div>
        ))}
      </dl>
    </>
  );
}

export function Message({ model: message }) {
  return (
    <>
      <h3>{message.id()}</h3>
      <p>{message.summary()}</p>
      <Frame message={message} />
    </>
  );
}

// Frame shows a message's payload and examples of the whole frame.
function Frame({ message }) {
  const frame = message.payload();
  const { payload } = frame.properties();
  return (
    <div className="frame">
      <div>
        {payload ? <Expanded name="payload" schema={payload} required={frame.required().includes("payload")} /> : <p>No payload.</p>}
      </div>
      <div>
        {message.examples().all().map((example) => <JSONSnippet key={example.name()} snippet={example.payload()} />)}
      </div>
    </div>
  );
}

// Expanded shows a schema that cannot be folded: that is how the component shows the items of arrays.
function Expanded({ name, ...properties }) {
  return <Schema schemaName={name} {...properties} isArray />;
}

export function Payload({ model: schema }) {
  return <Schema schemaName={schema.id()} schema={schema} />;
}
