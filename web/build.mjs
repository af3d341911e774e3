// Bundles the page and writes it as a C file of arrays: node build.mjs OUTPUT.c
// Needs the packages of package.json beside it (tools/playground.sh brings them).
import {createHash} from "node:crypto";
import {readFileSync, writeFileSync} from "node:fs";
import {gzipSync} from "node:zlib";
import {build} from "esbuild";

const bundle = await build({
  entryPoints: ["src/main.ts", "src/style.css"],
  bundle: true,
  minify: true,
  write: false,
  outdir: "out",
  target: "es2022",
  legalComments: "none",
  metafile: true,
});

// The licenses of the packages in the bundle require that their texts come with it.
function licenses() {
  const inputs = Object.keys(bundle.metafile.inputs).filter(path => path.startsWith("node_modules/"));
  const packages = new Set(inputs.map(path => path.match(/^node_modules\/((?:@[^/]+\/)?[^/]+)/)[1]));
  return [...packages].sort().map(name => {
    const {version} = JSON.parse(readFileSync(`node_modules/${name}/package.json`, "utf8"));
    return `${name} ${version}\n\n${readFileSync(`node_modules/${name}/LICENSE`, "utf8")}`;
  }).join("\n" + "-".repeat(72) + "\n\n");
}

const built = suffix => Buffer.from(bundle.outputFiles.find(file => file.path.endsWith(suffix)).contents);
const assets = [
  {path: "", type: "text/html; charset=utf-8", bytes: readFileSync("src/index.html")},
  {path: "main.js", type: "text/javascript; charset=utf-8", bytes: built(".js")},
  {path: "style.css", type: "text/css; charset=utf-8", bytes: built(".css")},
  {path: "licenses.txt", type: "text/plain; charset=utf-8", bytes: Buffer.from(licenses())},
];

const array = (name, bytes) => `static const unsigned char ${name}[] = {${Array.from(bytes).join(",")}};\n`;
let arrays = "", rows = "";
assets.forEach(({path, type, bytes}, i) => {
  const packed = gzipSync(bytes, {level: 9});
  const etag = createHash("sha256").update(bytes).digest("hex").slice(0, 32);
  arrays += array(`plain_${i}`, bytes) + array(`gzip_${i}`, packed);
  rows += `    {"${path}", "${type}", "W/\\"${etag}\\"", plain_${i}, sizeof plain_${i}, gzip_${i}, sizeof gzip_${i}},\n`;
});
writeFileSync(process.argv[2], `/* Made by web/build.mjs. */
#include "serve/playground.h"

${arrays}
const struct px_asset px_assets[] = {
${rows}    {0},
};
`);
