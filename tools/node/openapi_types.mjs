// Read an OpenAPI document from standard input and print its TypeScript types.
import { readFileSync } from "node:fs";
import openapiTS, { astToString } from "openapi-typescript";

process.stdout.write(astToString(await openapiTS(JSON.parse(readFileSync(0, "utf8")))));
