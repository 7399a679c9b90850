// Checks an AsyncAPI document: prints every diagnostic, and exits with 1 if one is an error.
// usage: node validate.mjs DOCUMENT
import { readFile } from "node:fs/promises";
import { Parser } from "@asyncapi/parser";

const SEVERITY = ["error", "warning", "information", "hint"];

const [path] = process.argv.slice(2);
if (path === undefined) {
  console.error("usage: node validate.mjs DOCUMENT");
  process.exit(2);
}
const source = await readFile(path, "utf8");
const { document, diagnostics } = await new Parser().parse(source, { source: path });
for (const { severity, code, message, path: place, range } of diagnostics) {
  console.log(`${SEVERITY[severity]}[${code}] ${path}:${range.start.line + 1} ${place.join(".") || "(document)"}: ${message}`);
}
const errors = diagnostics.filter(({ severity }) => severity === 0).length;
if (errors > 0 || document === undefined) {
  console.log(`${path}: ${errors} errors`);
  process.exitCode = 1;
} else {
  console.log(`${path}: AsyncAPI ${document.version()}, ${document.channels().all().length} channels, no errors`);
}
