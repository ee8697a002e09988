// A layered layout of boxes of any size: Sugiyama, Tagawa and Toda 1981. It lays out what is within
// an opened group, and gives the boxes of the top level their coordinates in layers that the page
// was made with.

const GAP = { across: 26, dummy: 12, down: 40 };
const SWEEPS = 8;
const LONG = 60; // layers: a longer edge leads around the boxes, not between them

// items: {w, h, layer?, x?}, in an order in which most edges go forward; "x", where given, is where
// a box would stand rather. edges: {from, to, out, in}, places among items, and where on these the
// edge begins and ends, from the middle. heights: the least height of each layer.
// Gives each item x and y, its middle and its top, and each edge its points; the width, the height.
function layered(items, edges, heights = []) {
  const key = JSON.stringify([
    items.map(({ w, h, layer, x, port }) => [w, h, layer, x, port]),
    edges.map(({ from, to, out, in: into }) => [from, to, out, into]), heights,
  ]);
  // Networks repeat themselves: blocks of one form are laid out once.
  if (laidOut.size > 2000) laidOut.clear();
  if (!laidOut.has(key)) laidOut.set(key, layOutNow(items, edges, heights));
  const known = laidOut.get(key);
  items.forEach((item, at) => {
    [item.x, item.y] = known.places[at];
  });
  edges.forEach((edge, at) => {
    edge.points = known.points[at].map((point) => [...point]);
  });
  return { width: known.width, height: known.height };
}

const laidOut = new Map();

function layOutNow(items, edges, heights) {
  const given = items.some((item) => item.layer !== undefined);
  const layers = given ? items.map((item) => item.layer ?? 0) : layersOf(items.length, edges);
  const rows = [];
  const cells = items.map((item, place) => ({
    item, place, layer: layers[place], w: item.w, h: item.h, want: item.x, up: [], down: [],
  }));
  for (const cell of cells) (rows[cell.layer] ??= []).push(cell);
  for (let layer = 0; layer < rows.length; layer++) rows[layer] ??= [];
  const chains = edges.map((edge) => chain(edge, cells, rows));
  if (cells.some((cell) => cell.want !== undefined)) {
    for (const row of rows) row.sort((a, b) => (a.want ?? aim(a)) - (b.want ?? aim(b)));
    for (const row of rows) number(row);
  } else {
    for (const row of rows) number(row);
    order(rows);
  }
  place(rows);
  let y = 0;
  const tops = [];
  rows.forEach((row, layer) => {
    const height = Math.max(heights[layer] ?? 0, ...row.map((cell) => cell.h));
    tops.push([y, height]);
    if (layer + 1 < rows.length) y += height + (heights.length ? GAP.down : gapBelow(row, rows[layer + 1]));
    else y += height;
  });
  const all = rows.flat();
  const left = Math.min(0, ...all.map((cell) => cell.x - cell.w / 2));
  const right = Math.max(0, ...all.map((cell) => cell.x + cell.w / 2));
  for (const cell of cells) {
    const [top, height] = tops[cell.layer];
    cell.item.x = cell.x - left;
    cell.item.y = top + (cell.item.port ? (cell.layer === 0 ? 0 : height) : (height - cell.h) / 2);
  }
  return {
    width: right - left,
    height: y,
    places: cells.map(({ item }) => [item.x, item.y]),
    points: edges.map((edge, at) => points(edge, chains[at], cells, tops, left)),
  };
}

// A box stands one layer below the lowest that it reads; sources come down to their first reader.
function layersOf(count, edges) {
  const layers = new Array(count).fill(0);
  const forward = edges.filter((edge) => edge.from < edge.to).sort((a, b) => a.from - b.from);
  for (const { from, to } of forward) layers[to] = Math.max(layers[to], layers[from] + 1);
  const read = new Set(forward.map((edge) => edge.to));
  const first = new Map();
  for (const { from, to } of forward) {
    first.set(from, Math.min(first.get(from) ?? Infinity, layers[to]));
  }
  return layers.map((layer, box) => (!read.has(box) && first.has(box) ? first.get(box) - 1 : layer));
}

// The cells of an edge from layer to layer; where it leads down by more than one, dummies between.
// Null for an edge that leads up, stays in its layer or is very long: it has no part in the layout.
function chain(edge, cells, rows) {
  const [from, to] = [cells[edge.from], cells[edge.to]];
  if (from.layer >= to.layer || to.layer - from.layer > LONG) return null;
  const dummies = [];
  let last = from;
  for (let layer = from.layer + 1; layer < to.layer; layer++) {
    const dummy = { layer, w: 4, h: 0, up: [], down: [], dummy: true };
    rows[layer].push(dummy);
    dummies.push(dummy);
    join(last, dummy, last === from ? edge.out : 0, 0);
    last = dummy;
  }
  join(last, to, last === from ? edge.out : 0, edge.in);
  return dummies;
}

function join(upper, lower, out, into) {
  upper.down.push({ cell: lower, own: out ?? 0, other: into ?? 0 });
  lower.up.push({ cell: upper, own: into ?? 0, other: out ?? 0 });
}

function number(row) {
  row.forEach((cell, at) => {
    cell.order = at;
  });
}

// Where a dummy among boxes with given places would stand: between the ends of its edge.
function aim(cell) {
  const seek = (from, side) => {
    let [at, steps] = [from, 0];
    while (at && at.want === undefined && at[side].length) {
      at = at[side][0].cell;
      steps += 1;
    }
    return [at?.want ?? 0, steps];
  };
  const [[above, up], [below, down]] = [seek(cell, "up"), seek(cell, "down")];
  return up + down === 0 ? 0 : (above * down + below * up) / (up + down);
}

// Few crossings: each layer in turn is sorted by the mean place of its neighbours.
function order(rows) {
  let best = crossings(rows);
  let kept = rows.map((row) => [...row]);
  for (let sweep = 0; sweep < SWEEPS && best > 0; sweep++) {
    const down = sweep % 2 === 0;
    for (const row of down ? rows.slice(1) : rows.slice(0, -1).reverse()) {
      for (const cell of row) {
        const near = down ? cell.up : cell.down;
        const sum = near.reduce((total, { cell: other, other: off }) => total + other.order + off * 1e-4, 0);
        cell.key = near.length ? sum / near.length : cell.order;
      }
      row.sort((a, b) => a.key - b.key || a.order - b.order);
      number(row);
    }
    const now = crossings(rows);
    if (now < best) {
      best = now;
      kept = rows.map((row) => [...row]);
    }
  }
  kept.forEach((row, layer) => {
    rows[layer] = row;
    number(row);
  });
}

// How many pairs of edges between neighbouring layers cross: inversions, by a Fenwick tree
// (Barth, Jünger and Mutzel 2002).
function crossings(rows) {
  let total = 0;
  for (const row of rows) {
    const ends = row.flatMap((cell) =>
      cell.down.map((edge) => edge.cell.order).sort((a, b) => a - b));
    if (!ends.length) continue;
    const tree = new Array(Math.max(...ends) + 2).fill(0);
    ends.forEach((end, seen) => {
      let smaller = 0;
      for (let i = end + 1; i > 0; i -= i & -i) smaller += tree[i];
      total += seen - smaller;
      for (let i = end + 1; i < tree.length; i += i & -i) tree[i] += 1;
    });
  }
  return total;
}

// Places across: each layer in turn comes as near to its neighbours as its order and its widths let
// it, in the least-squares sense. Dummies weigh more: long edges are to be straight.
function place(rows) {
  for (const row of rows) {
    let x = 0;
    row.forEach((cell, at) => {
      x += at ? apart(row[at - 1], cell) : 0;
      cell.x = x;
    });
    const middle = x / 2;
    for (const cell of row) cell.x -= middle;
  }
  for (let sweep = 0; sweep < SWEEPS; sweep++) {
    const way = sweep % 2 === 0 ? "up" : "down";
    for (const row of way === "up" ? rows : [...rows].reverse()) {
      settle(row, (cell) => {
        const near = cell[way].length ? cell[way] : cell[way === "up" ? "down" : "up"];
        const wants = near.map((edge) => edge.cell.x + edge.other - edge.own);
        return wants.length ? wants.reduce((a, b) => a + b) / wants.length : cell.x;
      });
    }
  }
  for (const row of rows) {
    settle(row, (cell) => {
      const wants = [...cell.up, ...cell.down].map((edge) => edge.cell.x + edge.other - edge.own);
      return wants.length ? wants.reduce((a, b) => a + b) / wants.length : cell.x;
    });
  }
}

const apart = (a, b) =>
  (a.w + b.w) / 2 + (a.dummy || b.dummy || a.item?.port || b.item?.port ? GAP.dummy : GAP.across);

// Isotonic regression (pool adjacent violators): places in order, apart, as near as can be to what
// is wanted.
function settle(row, wanted) {
  const blocks = [];
  let offset = 0;
  row.forEach((cell, at) => {
    offset += at ? apart(row[at - 1], cell) : 0;
    cell.offset = offset;
    const weight = cell.dummy ? 4 : 1;
    blocks.push({ sum: weight * (wanted(cell) - offset), weight, count: 1 });
    while (blocks.length > 1) {
      const [a, b] = blocks.slice(-2);
      if (a.sum / a.weight <= b.sum / b.weight) break;
      blocks.splice(-2, 2, { sum: a.sum + b.sum, weight: a.weight + b.weight, count: a.count + b.count });
    }
  });
  let at = 0;
  for (const block of blocks) {
    for (let i = 0; i < block.count; i++, at++) row[at].x = block.sum / block.weight + row[at].offset;
  }
}

// Room for edges that lead aside, and little where there are ports alone.
function gapBelow(row, next) {
  const ports = (cells) => cells.every((cell) => cell.item?.port || cell.dummy);
  if (ports(row) || ports(next)) return GAP.down / 2;
  const edges = row.reduce((count, cell) => count + cell.down.length, 0);
  return GAP.down + Math.min(40, 2 * Math.max(0, edges - 6));
}

function points(edge, dummies, cells, tops, left) {
  const [from, to] = [cells[edge.from], cells[edge.to]];
  const start = [from.x + (edge.out ?? 0) - left, from.item.y + from.h];
  const end = [to.x + (edge.in ?? 0) - left, to.item.y];
  if (dummies === null) return sideways(from, to, start, end, left);
  const between = dummies.flatMap((dummy) => {
    const [top, height] = tops[dummy.layer];
    return [[dummy.x - left, top], [dummy.x - left, top + height]];
  });
  return [start, ...between, end];
}

// An edge that leads up, across or very far: around the right side of both boxes.
function sideways(from, to, start, end, left) {
  const right = Math.max(from.x + from.w / 2, to.x + to.w / 2) - left + 18;
  return [start, [start[0], start[1] + 12], [right, start[1] + 12], [right, end[1] - 12],
    [end[0], end[1] - 12], end];
}
