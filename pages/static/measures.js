// What nodes cost: operations and bytes as the graph says, time as a profile says.

class Measures {
  constructor(profile) {
    this.profile = profile;
    this.peak = profile?.peak ?? null;
    this.rows = new Map();
    for (const [path, op, seconds, flops, bytes] of profile?.rows ?? []) {
      this.rows.set(`${path}\n${op}`, { seconds, flops, bytes });
    }
  }

  row(record) {
    const [path, op] = record.row ?? [record.path, record.op];
    return this.rows.get(`${path}\n${op}`) ?? null;
  }

  // Of a leaf or a group. Times are those of kernels: a node that is part of one has none of its own.
  of(node) {
    const leaves = node.leaf ? [node] : leavesWithin(node);
    const sum = { flops: 0, bytes: 0, seconds: null, share: null };
    const seen = new Set();
    for (const { record } of leaves) {
      sum.flops = sum.flops === null || record.flops === null ? null : sum.flops + (record.flops ?? 0);
      sum.bytes = sum.bytes === null || record.bytes === null ? null : sum.bytes + (record.bytes ?? 0);
      const row = this.row(record);
      if (row && !seen.has(row)) {
        seen.add(row);
        sum.seconds = (sum.seconds ?? 0) + row.seconds;
      }
    }
    if (sum.seconds !== null && this.profile.seconds) sum.share = sum.seconds / this.profile.seconds;
    sum.rate = sum.seconds ? [...seen].reduce((all, row) => all + row.flops, 0) / sum.seconds : null;
    return sum;
  }

  // How boxes are coloured: a name, and what of a cost it shows.
  scales() {
    const found = [["kind", "kind of op", null]];
    if (this.profile) found.push(["time", "time", (cost) => cost.seconds]);
    found.push(["flops", "operations", (cost) => cost.flops], ["bytes", "bytes", (cost) => cost.bytes]);
    if (this.peak) found.push(["peak", "share of the peak", (cost) => (cost.rate === null ? null : cost.rate / this.peak)]);
    return found;
  }

  // A function from a node to its colour. Shares of the peak go from 0 to 1; else the largest value
  // of a leaf, or of a closed group, has the full colour.
  colours(name, boxes) {
    const [, , value] = this.scales().find(([other]) => other === name) ?? [];
    if (!value) return { colour: () => null, most: null };
    const found = new Map(boxes.filter((box) => box.node && !box.open).map((box) => [box.node, value(this.of(box.node))]));
    const most = name === "peak" ? 1 : Math.max(0, ...[...found.values()].filter((v) => v !== null));
    const colour = (node) => {
      const own = found.get(node) ?? null;
      if (own === null || !most) return null;
      const part = Math.round(100 * Math.min(1, own / most) ** 0.6);
      return `color-mix(in oklab, var(--heat) ${part}%, var(--panel))`;
    };
    return { colour, most };
  }
}

function leavesWithin(node) {
  return node.leaf ? [node] : node.children.flatMap(leavesWithin);
}
