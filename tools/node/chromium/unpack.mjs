// Unpacks the browser, its libraries and a font into the folder TMPDIR.
import { inflate } from "@sparticuz/chromium";
import { fileURLToPath } from "node:url";

const archives = new URL("../bin/", import.meta.resolve("@sparticuz/chromium"));
for (const name of ["chromium.br", "al2023.tar.br", "fonts.tar.br"]) await inflate(fileURLToPath(new URL(name, archives)));
