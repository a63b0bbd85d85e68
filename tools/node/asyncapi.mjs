// Read an AsyncAPI document from standard input. Print the findings of the official parser, with hints, and the
// TypeScript models that Modelina makes of it.
import { readFileSync } from "node:fs";
import { Parser } from "@asyncapi/parser";
import { TypeScriptGenerator } from "@asyncapi/modelina";

const text = readFileSync(0, "utf8");
const { document, diagnostics } = await new Parser().parse(text);
const said = diagnostics.map(({ code, message, path, severity }) => ({ code, message, path: path.join("."), severity }));
const models = document ? await new TypeScriptGenerator({ modelType: "interface" }).generate(document) : [];
const code = models.map(({ modelName, result }) => ({ name: modelName, code: `export ${result}` }));
process.stdout.write(JSON.stringify({ valid: document !== undefined, said, models: code }));
