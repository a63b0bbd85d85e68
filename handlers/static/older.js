// Swagger UI shows OpenAPI 3.0 about three times faster than 3.1. This returns the description in the older form.
const VALUES = new Set(["example", "default", "enum", "value"]); // contain data, not schemas

export function toOpenApi30(spec) {
  return { ...convert(spec), openapi: "3.0.3" };
}

function convert(node) {
  if (Array.isArray(node)) return node.map(convert);
  if (node === null || typeof node !== "object") return node;
  const made = Object.fromEntries(Object.entries(node).map(([key, value]) => [key, VALUES.has(key) ? value : convert(value)]));
  if (Array.isArray(made.examples)) {
    made.example = node.examples[0];
    delete made.examples;
  }
  if ("const" in made && typeof made.const !== "object") {
    made.enum = [made.const];
    delete made.const;
  }
  if (Array.isArray(made.type)) {
    made.anyOf = made.type.map((type) => ({ type }));
    delete made.type;
  }
  return made.in && made.schema && !made.required ? withoutExample(made) : withoutNull(made);
}

// Swagger UI fills in examples, and an optional parameter such as `cursor` then makes the request fail or narrows its result.
function withoutExample({ schema: { example: own, ...schema }, example = own, ...parameter }) {
  if (example === undefined) return { ...parameter, schema };
  return { ...parameter, schema, description: `${parameter.description}. Example: \`${[example].flat().join(",")}\`` };
}

// `anyOf` with null becomes `nullable`. A reference may have no other keys, so it moves into `allOf`.
function withoutNull(made) {
  if (Array.isArray(made.anyOf) && made.anyOf.some(({ type }) => type === "null")) {
    made.nullable = true;
    made.anyOf = made.anyOf.filter(({ type }) => type !== "null");
  }
  if (Array.isArray(made.anyOf) && made.anyOf.length === 1) {
    const [only] = made.anyOf;
    delete made.anyOf;
    made = only.$ref ? { ...made, allOf: [only] } : { ...only, ...made };
  }
  if (made.$ref && Object.keys(made).length > 1) {
    const { $ref, ...others } = made;
    return { ...others, allOf: [{ $ref }] };
  }
  return made;
}
