"""Writes the table of measured cuts: python3 bench/linear_table.py CUTS [CUTS ...] > linearPlugin/linearMeasured.h

CUTS are files that bench_kernels.py --only linear --cuts wrote, all on one kind of GPU. The cut with the least time of
each number of tokens and size of layer becomes a line; where two files time one cut, the smaller counts.
"""

import csv
import sys

CUT = ("tileTokens", "tileColumns", "split", "shareWeight", "shareTokens", "stages")
best = {}
for path in sys.argv[1:]:
    with open(path, newline="") as file:
        for row in csv.DictReader(file, delimiter="\t"):
            key = tuple(int(row[name]) for name in ("inFeatures", "outFeatures", "headDim", "tokens"))
            found = (float(row["us"]), tuple(int(row[name]) for name in CUT))
            best[key] = min(best.get(key, found), found)
if not best:
    sys.exit("linear_table.py: expected files of cuts, found none with a line")

print("""// Written by bench/linear_table.py: the fastest cuts of the linear layers that were measured, on an H100 or H200.
#pragma once

#include <cstdint>

namespace nit
{

constexpr int kLinearMeasuredProcessors = 132; //!< of the GPU that was measured

struct LinearMeasured
{
    int64_t tokens;
    int32_t inFeatures;
    int32_t outFeatures;
    int32_t headDim; //!< of the heads that the layer makes; 0: a plain one
    int32_t tileTokens;
    int32_t tileColumns;
    int32_t split;
    int32_t shareWeight;
    int32_t shareTokens;
    int32_t stages;
};

constexpr LinearMeasured kLinearMeasured[] = {""")
lines = [(f"    {{{tokens}, {columns_in}, {columns_out}, {head_dim}, {', '.join(map(str, cut))}}},", us)
         for (columns_in, columns_out, head_dim, tokens), (us, cut) in sorted(best.items())]
width = max(len(line) for line, _ in lines)
for line, us in lines:
    print(f"{line:{width}} // {us:.2f} us")
print("""};

} // namespace nit""")
