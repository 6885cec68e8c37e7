"""The seeded public workload of targeting: who may bid on this person. `python -m bench.targeting`; bench/README.md."""

from statistics import median

from bench.ratio import Result


def results(rounds: int) -> list[Result]:
    """The ratios of 100,000 campaigns and of ten, and p99 while campaigns are added, for `python -m bench`.

    Raises Disagreement when the index and its references do not find the same campaigns.
    """
    from bench.targeting import load, measure, table

    found = []
    for campaigns in (measure.FEW, load.CAMPAIGNS):
        for rate in table.RATES:
            cell = measure.measure(rate, campaigns, 500, rounds)
            name = f"targeting, {campaigns} campaigns, {rate}"
            note = (
                f"called from Python p50 {median(cell.p50):.1f}, p99 {median(cell.p99):.0f} us; {cell.memory_mb:.0f} MB"
            )
            found += [
                Result(name, f"a row of bits per value; {note}", "CPU us/request", cell.batch, cell.bits,
                       measure.BITS_TIMES.get(cell.key)),
                Result(name, "expressions one by one", "CPU us/request", cell.batch_plain, cell.plain,
                       measure.PLAIN_TIMES.get(cell.key)),
            ]  # fmt: skip
    return [*found, load.measure(rounds)]
