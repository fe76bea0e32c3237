// @modelcontextprotocol/sdk 1.x, which knows only the handshake.

import { Client } from "@modelcontextprotocol/sdk/client/index.js";
import { StreamableHTTPClientTransport } from "@modelcontextprotocol/sdk/client/streamableHttp.js";

import * as expected from "./expected.mjs";

const client = new Client({ name: "nla-test", version: "1.0.0" });
const transport = new StreamableHTTPClientTransport(expected.url, { requestInit: expected.requestInit });
await client.connect(transport);
expected.require(transport.protocolVersion === "2025-11-25", `spoke ${transport.protocolVersion}`);
await expected.checkAll(client);
await client.close();
console.log("ok npm sdk 1.x");
