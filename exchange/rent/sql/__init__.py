"""SQL on a ledger: a query and its answer, over views that stand on relations of sealed files and live rows."""
