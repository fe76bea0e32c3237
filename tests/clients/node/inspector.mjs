// The Inspector's command line, once per era. Its path comes as argument.

import { spawnSync } from "node:child_process";

import * as expected from "./expected.mjs";

const [inspector] = process.argv.slice(2);

function inspect(era, method, ...rest) {
  const args = [inspector, "--cli", expected.url.href, "--transport", "http", "--protocol-era", era];
  args.push("--header", `Authorization: ${expected.authorization}`, "--method", method, ...rest);
  const run = spawnSync(process.execPath, args, { encoding: "utf8", timeout: 60_000 });
  try {
    return JSON.parse(run.stdout);
  } catch {
    throw new Error(`FAILED: inspector ${era} ${method}: ${run.stdout}${run.stderr}`);
  }
}

function call(era, tool, given) {
  const pairs = Object.entries(given).map(([key, value]) => `${key}=${value}`);
  const rest = pairs.length > 0 ? ["--tool-arg", ...pairs] : [];
  return inspect(era, "tools/call", "--tool-name", tool, ...rest);
}

for (const era of ["legacy", "modern"]) {
  expected.checkTools(inspect(era, "tools/list").tools);
  inspect(era, "resources/list");
  expected.checkPrompts(inspect(era, "prompts/list").prompts);
  expected.checkDatabases(call(era, "list_databases", {}));
  expected.checkSelect(call(era, "query_database", expected.select));
  expected.checkWrite(call(era, "query_database", expected.write));
  console.log(`ok inspector ${era}`);
}
