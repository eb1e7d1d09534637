import { ConfigContext, SpecificationContext } from "@asyncapi/react-component/lib/esm/contexts/index.js";
import { Markdown } from "@asyncapi/react-component/lib/esm/components/index.js";
import { Channel, Envelope, Message, Operation, Payload } from "./items.jsx";

// Page shows a document to people who write a client: where to connect, what to send and what comes back.
// It expects the server's view.
export function Page({ spec }) {
  const sections = sectionsOf(spec);
  return (
    <ConfigContext.Provider value={{}}>
      <SpecificationContext.Provider value={spec}>
        <header>
          <button popovertarget="menu">Menu</button>
          <a href="asyncapi.json">JSON</a>
          <a href="asyncapi.yaml">YAML</a>
        </header>
        <Menu sections={sections} />
        <main className="aui-root">
          <Info info={spec.info()} />
          {sections.map((section) => <Section key={section.id} {...section} />)}
          <footer><a href="NOTICE.txt">Licences of this page</a></footer>
        </main>
      </SpecificationContext.Provider>
    </ConfigContext.Provider>
  );
}

function sectionsOf(spec) {
  const operations = spec.operations().filterByReceive();
  const received = operations.flatMap((operation) => operation.messages().all());
  const names = new Set(received.map((message) => message.id()));
  const sent = spec.components().messages().all().filter((message) => !names.has(message.id()));
  const frames = new Set([...received, ...sent].map((message) => message.payload().id()));
  const payloads = spec.components().schemas().all().filter((schema) => !frames.has(schema.id()));
  return [
    section("Channels", "channel", spec.channels().all(), Channel),
    { ...section("Client to server", "operation", operations, Operation), frame: received[0] },
    { ...section("Server to client", "message", sent, Message), frame: sent[0] },
    section("Schemas", "schema", payloads, Payload),
  ];
}

function section(title, kind, models, Item) {
  const items = models.map((model) => ({ id: `${kind}-${model.id()}`, name: model.id(), model }));
  return { title, id: `${kind}s`, items, Item };
}

function Section({ title, id, items, Item, frame }) {
  return (
    <section id={id}>
      <h2>{title}</h2>
      {frame && <Envelope message={frame} />}
      {items.map(({ id, model }) => <article key={id} id={id}><Item model={model} /></article>)}
    </section>
  );
}

function Info({ info }) {
  const contact = info.contact();
  const license = info.license();
  return (
    <section id="introduction">
      <h1>{info.title()} <small>{info.version()}</small></h1>
      <Markdown>{info.description()}</Markdown>
      {contact && <p>Contact: <Link to={contact.url()} text={contact.name()} /> <Link to={contact.email() && `mailto:${contact.email()}`} text={contact.email()} /></p>}
      {license && <p>Licence: <Link to={license.url()} text={license.name()} /></p>}
    </section>
  );
}

function Link({ to, text }) {
  return to ? <a href={to}>{text ?? to}</a> : text;
}

// Menu is a column beside the page or, where there is no room for it, behind the header's button.
function Menu({ sections }) {
  return (
    <nav id="menu" popover="auto" onClick={closeMenu}>
      <a href="#introduction">Introduction</a>
      {sections.map(({ title, id, items }) => (
        <div key={id}>
          <a href={`#${id}`}>{title}</a>
          <ul>{items.map(({ id, name }) => <li key={id}><a href={`#${id}`}>{name}</a></li>)}</ul>
        </div>
      ))}
    </nav>
  );
}

function closeMenu({ currentTarget, target }) {
  if (target.closest("a") && currentTarget.matches(":popover-open")) currentTarget.hidePopover();
}
