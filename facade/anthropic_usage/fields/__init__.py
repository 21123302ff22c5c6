"""What a row's field says of itself, and all that follows from it: one line a field.

`declarations` has the words of a row class, `compiled` writes the loops that run once a result,
`columns` knows Arrow and the lake.
"""

from .declarations import (
    ALWAYS,
    PERIODS,
    Breakdown,
    Count,
    Derived,
    Dimension,
    Fields,
    Measure,
    Money,
    Nested,
    Row,
    Span,
    Time,
    Total,
    fields_of,
    unreadable,
)

__all__ = [
    "ALWAYS",
    "PERIODS",
    "Breakdown",
    "Count",
    "Derived",
    "Dimension",
    "Fields",
    "Measure",
    "Money",
    "Nested",
    "Row",
    "Span",
    "Time",
    "Total",
    "fields_of",
    "unreadable",
]
