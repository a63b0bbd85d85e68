// Write types of /openapi.json: node generate.mjs openapi.json api.ts. Files are Blobs, as browsers and Node have them.
import { readFile, writeFile } from "node:fs/promises";
import openapiTS, { astToString } from "openapi-typescript";
import ts from "typescript";

const [source, target] = process.argv.slice(2);
const blob = ts.factory.createTypeReferenceNode("Blob");
const types = await openapiTS(JSON.parse(await readFile(source, "utf8")), {
  transform: (schema) => (schema.format === "binary" ? blob : undefined),
});
await writeFile(target, astToString(types));
