"""Answers made of reports: what was spent, by whom, and whether the bill can be explained."""
