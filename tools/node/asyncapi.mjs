// Read the file of an AsyncAPI document. Print the findings of the official parser, with hints, and the TypeScript models
// that Modelina makes of it. Modelina 5 reads AsyncAPI 3.1 from a file only. It needs `rawPropertyNames` to keep a field
// that is named like a reserved word, such as `event`.
import { readFileSync } from "node:fs";
import { pathToFileURL } from "node:url";
import { Parser } from "@asyncapi/parser";
import { TypeScriptGenerator } from "@asyncapi/modelina";

const [path] = process.argv.slice(2);
const { document, diagnostics } = await new Parser().parse(readFileSync(path, "utf8"));
const said = diagnostics.map(({ code, message, path, severity }) => ({ code, message, path: path.join("."), severity }));
const generator = new TypeScriptGenerator({ modelType: "interface", rawPropertyNames: true });
const models = document ? await generator.generate(pathToFileURL(path).href) : [];
const code = models.map(({ modelName, result }) => ({ name: modelName, code: `export ${result}` }));
process.stdout.write(JSON.stringify({ valid: document !== undefined, said, models: code }));
