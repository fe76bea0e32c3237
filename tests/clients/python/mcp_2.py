"""The Python SDK 2.x: each way in which it chooses a protocol version."""

import asyncio
import ssl

import httpx2
from mcp import Client
from mcp.client.streamable_http import streamable_http_client

import expected

MODES = {"auto": "2026-07-28", "2026-07-28": "2026-07-28", "legacy": "2025-11-25"}


async def run(mode, version):
    verify = ssl.create_default_context(cafile=expected.CA) if expected.CA else True
    async with httpx2.AsyncClient(headers=expected.HEADERS, verify=verify, timeout=30) as http:
        transport = streamable_http_client(expected.URL, http_client=http)
        async with Client(transport, mode=mode) as client:
            expected.require(client.protocol_version == version, f"spoke {client.protocol_version}, not {version}")
            expected.check_tools([tool.name for tool in (await client.list_tools()).tools])
            await client.list_resources()
            await client.list_resource_templates()
            expected.check_prompts([prompt.name for prompt in (await client.list_prompts()).prompts])

            databases = await client.call_tool("list_databases", {})
            expected.check_databases(databases.is_error, databases.structured_content)
            rows = await client.call_tool("query_database", expected.SELECT)
            expected.check_select(rows.is_error, rows.structured_content)
            write = await client.call_tool("query_database", expected.WRITE)
            expected.check_write(write.is_error, [getattr(block, "text", "") for block in write.content])
    print(f"ok python mcp 2.x {mode}")


for mode, version in MODES.items():
    asyncio.run(run(mode, version))
