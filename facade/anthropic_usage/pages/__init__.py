"""Spend as a page, as charts, and as Markdown."""
