// @modelcontextprotocol/client 2.x: each way in which it chooses a protocol version.

import { Client, StreamableHTTPClientTransport } from "@modelcontextprotocol/client";

import * as expected from "./expected.mjs";

for (const [name, mode, version] of [
  ["legacy", "legacy", "2025-11-25"],
  ["auto", "auto", "2026-07-28"],
  ["pinned", { pin: "2026-07-28" }, "2026-07-28"],
]) {
  const client = new Client({ name: "nla-test", version: "1.0.0" }, { versionNegotiation: { mode } });
  const transport = new StreamableHTTPClientTransport(expected.url, { requestInit: expected.requestInit });
  await client.connect(transport);
  const spoken = client.getNegotiatedProtocolVersion();
  expected.require(spoken === version, `${name}: spoke ${spoken}, not ${version}`);
  await expected.checkAll(client);
  await client.close();
  console.log(`ok npm client 2.x ${name}`);
}
