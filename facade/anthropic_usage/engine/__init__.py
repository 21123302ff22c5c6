"""One engine: plans, flows without I/O, the governor, the transport, sums, and lazy reports."""
