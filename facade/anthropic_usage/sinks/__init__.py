"""Reports as CSV, Arrow, Parquet, pandas and Polars: sinks that take a report page by page."""
