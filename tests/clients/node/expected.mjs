// What every client must find on an edge; the Node twin of python/expected.py.

export const url = new URL(required("NLA_URL"));
export const database = required("NLA_DATABASE");
export const authorization = `Bearer ${required("NLA_TOKEN")}`;
export const requestInit = { headers: { Authorization: authorization } };

// Computed by the database, so that an echo of the statement would not pass.
export const select = { database, sql: "SELECT 'nla-' || (6 * 7) AS answer", max_rows: 5 };
export const write = { database, sql: "DELETE FROM nla_no_such_table" };
const answer = "nla-42";

function required(name) {
  const value = process.env[name];
  if (!value) throw new Error(`${name} is not set`);
  return value;
}

export function require(condition, text) {
  if (!condition) throw new Error(`FAILED: ${text}`);
}

function checkNames(list, items, wanted) {
  const names = items.map((item) => item.name);
  const missing = wanted.filter((name) => !names.includes(name));
  require(missing.length === 0, `${list} lacks ${missing}`);
}

export function checkTools(tools) {
  checkNames("tools/list", tools, ["list_databases", "get_schema", "query_database", "explain_query"]);
}

export function checkPrompts(prompts) {
  checkNames("prompts/list", prompts, ["explore-database", "diagnose-query"]);
}

function checkStructured(what, result, text) {
  const structured = JSON.stringify(result.structuredContent);
  require(!result.isError, `${what} failed: ${JSON.stringify(result.content)}`);
  require(structured?.includes(text), `${what}: structuredContent lacks ${text}: ${structured}`);
}

export function checkDatabases(result) {
  checkStructured("list_databases", result, database);
}

export function checkSelect(result) {
  checkStructured("query_database", result, answer);
}

export function checkWrite(result) {
  require(result.isError === true, "a write was not refused as isError");
  require(result.content.some((block) => block.text), "the refusal of a write does not say why");
}

// Both generations of the SDK name these methods alike.
export async function checkAll(client) {
  checkTools((await client.listTools()).tools);
  await client.listResources();
  await client.listResourceTemplates();
  checkPrompts((await client.listPrompts()).prompts);
  checkDatabases(await client.callTool({ name: "list_databases", arguments: {} }));
  checkSelect(await client.callTool({ name: "query_database", arguments: select }));
  checkWrite(await client.callTool({ name: "query_database", arguments: write }));
}
