"""The tracker and its lake: daily snapshots, kept as the API sent them, and tables made of them."""
