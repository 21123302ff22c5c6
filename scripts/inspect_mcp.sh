#!/usr/bin/env bash
# List and call every tool of the MCP server with the MCP Inspector's command line (needs npx).
set -euo pipefail
server="${1:-$(dirname "$0")/../.venv/bin/anthropic-usage}"
inspect() { npx --yes @modelcontextprotocol/inspector --cli "$server" mcp --demo "$@" 2>/dev/null; }

inspect --method tools/list | grep '"name": "[a-z_]*"' | sort -u
day=$(date -u -d '3 days ago' +%F)
call() {
  tool=$1 && shift
  inspect --method tools/call --tool-name "$tool" "$@" >/tmp/inspected.json
  if grep -q '"isError": true' /tmp/inspected.json; then
    cat /tmp/inspected.json && exit 1
  fi
  echo "$tool answers $(wc -c </tmp/inspected.json) bytes"
}
call anthropic_usage --tool-arg action=cost --tool-arg "starting_at=${day}T00:00:00Z"
for tool in get_usage_report get_cost_report get_spend_summary reconcile_costs; do
  call "$tool" --tool-arg "starting_at=${day}T00:00:00Z"
done
call get_claude_code_usage --tool-arg "starting_at=$day"
call list_workspaces
