"""The seeded public workload of targeting: who may bid on this person. `python -m bench.targeting`; see bench/README.md."""
