// Turns pages/*.md into HTML: `node build.mjs [FOLDER]`, by default into dist/.
import { mkdirSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { basename, join } from "node:path";
import MarkdownIt from "markdown-it";

const target = process.argv[2] ?? "dist";
const markdown = new MarkdownIt({ typographer: true });
const pages = readdirSync("pages").filter((name) => name.endsWith(".md")).sort();
if (pages.length === 0) throw new Error("there is no page in pages/");

mkdirSync(target, { recursive: true });
for (const page of pages) {
  const title = basename(page, ".md");
  const body = markdown.render(readFileSync(join("pages", page), "utf8"));
  const html = `<!doctype html>\n<html lang="en">\n<meta charset="utf-8">\n<title>${title}</title>\n${body}</html>\n`;
  writeFileSync(join(target, `${title}.html`), html);
}
console.log(`${pages.length} pages in ${target}`);
