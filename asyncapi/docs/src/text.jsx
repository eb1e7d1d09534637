import { micromark } from "micromark";
import { useState } from "preact/hooks";

// Markdown shows CommonMark. micromark lets neither HTML nor dangerous addresses through.
export function Markdown({ children }) {
  return children && <div class="prose" dangerouslySetInnerHTML={{ __html: micromark(children) }} />;
}

const token = /("(?:\\.|[^"\\])*")(\s*:)?|\b(?:true|false|null)\b|-?\d+(?:\.\d+)?(?:[eE][-+]?\d+)?/g;

// Json shows a value, coloured.
export function Json({ value }) {
  const text = JSON.stringify(value, null, 2);
  const parts = [];
  let end = 0;
  for (const match of text.matchAll(token)) {
    const kind = match[2] ? "key" : match[1] ? "string" : "literal";
    const word = match[1] ?? match[0];
    parts.push(text.slice(end, match.index), <span class={kind}>{word}</span>);
    end = match.index + word.length;
  }
  return <pre class="json"><code>{parts}{text.slice(end)}</code></pre>;
}

// Copy is a button that copies text, where the browser allows it: on secure origins.
export function Copy({ text }) {
  const [copied, setCopied] = useState(false);
  if (!navigator.clipboard) return null;
  const copy = async () => {
    await navigator.clipboard.writeText(text);
    setCopied(true);
  };
  return <button class="copy" onClick={copy} onBlur={() => setCopied(false)}>{copied ? "Copied" : "Copy"}</button>;
}
