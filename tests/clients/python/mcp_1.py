"""The Python SDK 1.x, which knows only the handshake."""

import asyncio
import ssl

import httpx
from mcp import ClientSession
from mcp.client.streamable_http import streamable_http_client

import expected


async def run():
    verify = ssl.create_default_context(cafile=expected.CA) if expected.CA else True
    async with httpx.AsyncClient(headers=expected.HEADERS, verify=verify, timeout=30) as http:
        async with (
            streamable_http_client(expected.URL, http_client=http) as (read, write, _),
            ClientSession(read, write) as session,
        ):
            hello = await session.initialize()
            expected.require(hello.protocolVersion == "2025-11-25", f"spoke {hello.protocolVersion}")
            expected.check_tools([tool.name for tool in (await session.list_tools()).tools])
            await session.list_resources()
            await session.list_resource_templates()
            expected.check_prompts([prompt.name for prompt in (await session.list_prompts()).prompts])

            databases = await session.call_tool("list_databases", {})
            expected.check_databases(databases.isError, databases.structuredContent)
            rows = await session.call_tool("query_database", expected.SELECT)
            expected.check_select(rows.isError, rows.structuredContent)
            refused = await session.call_tool("query_database", expected.WRITE)
            expected.check_write(refused.isError, [getattr(block, "text", "") for block in refused.content])
    print("ok python mcp 1.x")


asyncio.run(run())
