// Compares the results of the conformance suite with not-applicable.yaml.
// Called by run.sh: verdict.mjs NOT_APPLICABLE RESULTS, where RESULTS has one
// folder per protocol version. Exits 1 on an unexpected or a stale entry.

import { readFileSync, readdirSync } from "node:fs";
import { createRequire } from "node:module";
import { join } from "node:path";

const [listPath, resultsPath] = process.argv.slice(2);
// From the cache folder (the working directory), where the suite is installed.
const { parse } = createRequire(join(process.cwd(), "package.json"))("yaml");
const notApplicable = parse(readFileSync(listPath, "utf8"));

let passed = 0;
let failed = 0;
const fail = (text) => {
  failed += 1;
  console.error(`FAILED ${text}`);
};

for (const [version, entries] of Object.entries(notApplicable)) {
  for (const { scenario, reason } of entries) {
    if (!scenario || !reason) fail(`not-applicable.yaml ${version}: an entry lacks scenario or reason`);
  }
}

for (const version of readdirSync(resultsPath)) {
  const excused = new Set((notApplicable[version] ?? []).map((entry) => entry.scenario));
  const folders = readdirSync(join(resultsPath, version));
  if (folders.length === 0) fail(`${version}: the suite ran no scenario`);
  for (const folder of folders) {
    const scenario = folder.replace(/^server-/, "").replace(/-\d{4}-\d{2}-\d{2}T.*$/, "");
    const checks = JSON.parse(readFileSync(join(resultsPath, version, folder, "checks.json"), "utf8"));
    const bad = checks.filter(({ status }) => status === "FAILURE" || status === "WARNING");
    const isExcused = excused.delete(scenario);
    if (isExcused && bad.length === 0) {
      fail(`${version} ${scenario}: passes now; remove it from not-applicable.yaml`);
    }
    if (isExcused) continue;
    passed += checks.filter(({ status }) => status === "SUCCESS").length;
    for (const { id, status, errorMessage } of bad) {
      fail(`${version} ${scenario} ${id} (${status}): ${errorMessage ?? ""}`);
    }
  }
  for (const scenario of excused) {
    fail(`${version} ${scenario}: no such scenario ran; remove it from not-applicable.yaml`);
  }
}
console.log(`conformance: ${passed} passed, ${failed} failed`);
process.exit(failed === 0 ? 0 : 1);
