import { useEffect, useState } from "preact/hooks";
import { Channel, Envelope, Message, Operation } from "./items.jsx";
import { Markdown } from "./text.jsx";
import { TryIt } from "./tryit.jsx";

// Page shows a document to people who write a client: where to connect, what to send and what comes back.
// It expects the server's view.
export function Page({ spec, mayTry }) {
  const [tried, setTried] = useState(null); // the message to try; null = the panel is closed
  const all = Object.entries(spec.operations ?? {});
  const takes = all.filter(([, { action }]) => action === "receive");
  const operations = takes.filter(([, { messages }], i) => takes.findIndex(([, other]) => other.messages[0] === messages[0]) === i); // every channel has them
  const pushed = all.find(([, { action }]) => action === "send")?.[1]; // the same for every channel
  const received = [...new Set(operations.flatMap(([, operation]) => operation.messages))];
  const sent = Object.values(spec.components.messages).filter((message) => !received.includes(message));
  const channels = Object.entries(spec.channels ?? {});
  const onTry = mayTry && channels.length > 0 ? setTried : undefined;
  return (
    <>
      <header class="bar">
        <button popovertarget="menu">Menu</button>
        {onTry && <button class="primary" onClick={() => onTry(tried ?? received[0])}>Try it</button>}
        <a href="asyncapi.json" download>JSON</a>
        <a href="asyncapi.yaml" download>YAML</a>
      </header>
      <Menu title={spec.info.title} channels={channels} operations={operations} sent={sent} />
      <main>
        <Info info={spec.info} />
        <section id="channels">
          <h2>Channels</h2>
          {channels.map(([name, channel]) => <Channel key={name} name={name} channel={channel} servers={channel.servers ?? Object.values(spec.servers)} />)}
        </section>
        <section id="operations">
          <h2>Client sends</h2>
          {channels.length > 1 && <p>On every channel: {channels.map(([name]) => name).join(", ")}.</p>}
          {received.length > 0 && <Envelope message={received[0]} />}
          {operations.map(([name, operation]) => <Operation key={name} name={name} operation={operation} onTry={onTry} />)}
        </section>
        <section id="messages">
          <h2>Server sends</h2>
          <Markdown>{pushed?.description}</Markdown>
          {sent.length > 0 && <Envelope message={sent[0]} />}
          {sent.map((message) => <Message key={message.name} message={message} />)}
        </section>
        <footer>
          For client generators there is the same document as the client sees it: <a href="asyncapi.json?view=client">JSON</a>, <a href="asyncapi.yaml?view=client">YAML</a>.
          {" "}<a href="NOTICE.txt">Licences of this page</a>.
        </footer>
      </main>
      {tried && <TryIt channels={channels} servers={Object.values(spec.servers)} messages={received} message={tried} onMessage={setTried} onClose={() => setTried(null)} />}
    </>
  );
}

function Info({ info: { title, version, description, contact, license } }) {
  return (
    <section id="introduction">
      <h1>{title} <small>{version}</small></h1>
      <Markdown>{description}</Markdown>
      {(contact || license) && (
        <p class="about">
          {contact && <span>Contact: <Link to={contact.url} text={contact.name} /> <Link to={contact.email && `mailto:${contact.email}`} text={contact.email} /></span>}
          {license && <span>Licence: <Link to={license.url} text={license.name} /></span>}
        </p>
      )}
    </section>
  );
}

function Link({ to, text }) {
  return to ? <a href={to}>{text ?? to}</a> : text;
}

// Menu is a column beside the page or, where there is no room for it, behind the bar's button.
function Menu({ title, channels, operations, sent }) {
  const current = useArticleInView();
  return (
    <nav id="menu" popover="auto" onClick={closeMenu}>
      <a class="title" href="#introduction">{title}</a>
      <Entries title="Channels" id="channels" current={current} items={channels.map(([name]) => [`channel-${name}`, name])} />
      <Entries title="Client sends" id="operations" current={current} items={operations.map(([name, { messages }]) => [`operation-${name}`, messages[0].name])} />
      <Entries title="Server sends" id="messages" current={current} items={sent.map(({ name }) => [`message-${name}`, name])} />
    </nav>
  );
}

function Entries({ title, id, items, current }) {
  return (
    <div>
      <a href={`#${id}`}>{title}</a>
      <ul>{items.map(([id, name]) => <li key={id}><a href={`#${id}`} aria-current={id === current ? "true" : undefined}>{name}</a></li>)}</ul>
    </div>
  );
}

// useArticleInView is the id of the article that is being read: the one near the top of the window.
function useArticleInView() {
  const [id, setId] = useState();
  useEffect(() => {
    const observer = new IntersectionObserver((entries) => {
      const entry = entries.find(({ isIntersecting }) => isIntersecting);
      if (entry) setId(entry.target.id);
    }, { rootMargin: "-15% 0px -80% 0px" });
    document.querySelectorAll("article").forEach((article) => observer.observe(article));
    return () => observer.disconnect();
  }, []);
  return id;
}

function closeMenu({ currentTarget, target }) {
  if (target.closest("a") && currentTarget.matches(":popover-open")) currentTarget.hidePopover();
}
