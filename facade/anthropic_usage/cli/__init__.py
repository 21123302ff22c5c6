"""The command `anthropic-usage`: arguments in, tables and data out; no logic of its own."""
