import { Markdown } from "./text.jsx";

// Properties lists the members of an object.
export function Properties({ schema }) {
  return (
    <ul class="properties">
      {Object.entries(schema.properties).map(([name, property]) => (
        <Property key={name} name={name} schema={property} required={schema.required?.includes(name)} />
      ))}
    </ul>
  );
}

// Property is one member: its name, type and limits, what it means, and what it consists of.
function Property({ name, schema, required }) {
  return (
    <li>
      <Head name={name} schema={schema} required={required} />
      <Description text={describe(schema)} />
      {objectsOf(schema).map((object) => (
        <details key={object.title}>
          <summary>{object.title}</summary>
          <Properties schema={object} />
        </details>
      ))}
    </li>
  );
}

// Payload is the payload of a message. What it consists of is open to view, in place of a description.
export function Payload({ schema, required }) {
  const objects = objectsOf(schema);
  return (
    <div class="payload">
      <Head name="payload" schema={schema} required={required} />
      {objects.length === 0 && <Description text={describe(schema)} />}
      {objects.map((object) => (
        <div key={object.title}>
          {objects.length > 1 && <h5>{object.title}</h5>}
          <Properties schema={object} />
        </div>
      ))}
    </div>
  );
}

function Head({ name, schema, required }) {
  return (
    <p class="property">
      <code>{name}</code> <span class="type">{typeOf(schema)}</span>
      {required && <span class="required">required</span>}
      <span class="limits">{limitsOf(schema).join(", ")}</span>
    </p>
  );
}

// Description keeps the values of an enumeration, a list at the end, behind their number.
function Description({ text }) {
  const [sentence, values] = text.split(/\n\n(?=- )/);
  return (
    <>
      <Markdown>{sentence}</Markdown>
      {values && <details><summary>{values.split("\n").length} values</summary><Markdown>{values}</Markdown></details>}
    </>
  );
}

// describe is what a schema says of itself or, when it is its type or null, what the type says.
function describe(schema) {
  return schema.description ?? schema.anyOf?.find(({ description }) => description)?.description ?? "";
}

function typeOf(schema) {
  if (schema.const !== undefined) return JSON.stringify(schema.const);
  if (schema.anyOf) return schema.anyOf.map(typeOf).join(" or ");
  if (schema.type === "array") return `array of ${typeOf(schema.items)}`;
  return schema.title ?? schema.format ?? schema.type ?? "any JSON";
}

// objectsOf are the objects that a value can consist of.
function objectsOf(schema) {
  if (schema.anyOf) return schema.anyOf.flatMap(objectsOf);
  if (schema.items) return objectsOf(schema.items);
  return schema.properties ? [schema] : [];
}

function limitsOf({ minLength, maxLength, minimum, maximum, minItems, maxItems }) {
  return [range(minLength, maxLength, " characters"), range(minimum, maximum, ""), range(minItems, maxItems, " items")].filter(Boolean);
}

function range(low, high, unit) {
  if (low !== undefined && high !== undefined) return `${low} to ${high}${unit}`;
  if (high !== undefined) return `at most ${high}${unit}`;
  return low !== undefined && `at least ${low}${unit}`;
}
