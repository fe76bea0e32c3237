"""What every client must find on an edge; shared by the two generations of the Python SDK."""

import json
import os

URL = os.environ["NLA_URL"]
DATABASE = os.environ["NLA_DATABASE"]
HEADERS = {"Authorization": f"Bearer {os.environ['NLA_TOKEN']}"}
# Absent for an edge on plain HTTP (loopback) or with a certificate of a public authority.
CA = os.environ.get("NLA_CA") or None

# Computed by the database, so that an echo of the statement would not pass.
SELECT = {"database": DATABASE, "sql": "SELECT 'nla-' || (6 * 7) AS answer", "max_rows": 5}
ANSWER = "nla-42"
WRITE = {"database": DATABASE, "sql": "DELETE FROM nla_no_such_table"}


def require(condition, text):
    if not condition:
        raise SystemExit(f"FAILED: {text}")


def check_tools(names):
    missing = {"list_databases", "get_schema", "query_database", "explain_query"} - set(names)
    require(not missing, f"tools/list lacks {sorted(missing)}")


def check_prompts(names):
    missing = {"explore-database", "diagnose-query"} - set(names)
    require(not missing, f"prompts/list lacks {sorted(missing)}")


def check_databases(is_error, structured):
    require(not is_error, "list_databases failed")
    require(DATABASE in json.dumps(structured), f"list_databases does not name {DATABASE}: {structured}")


def check_select(is_error, structured):
    require(not is_error, f"the SELECT failed: {structured}")
    require(ANSWER in json.dumps(structured), f"structuredContent lacks {ANSWER}: {structured}")


def check_write(is_error, texts):
    require(is_error is True, "a write was not refused as isError")
    require(any(texts), "the refusal of a write does not say why")
