// From a tree and the groups that are open in it to boxes and edges with coordinates.

const BOX = { height: 42, least: 116, most: 250, pad: 14, header: 30, inset: 16, lanes: 90 };
const measure = document.createElement("canvas").getContext("2d");
const widths = new Map();

function textWidth(text, font) {
  const key = `${font}\n${text}`;
  if (!widths.has(key)) {
    measure.font = font;
    widths.set(key, measure.measureText(text).width);
  }
  return widths.get(key);
}

// A text that fits a width, with an ellipsis where it was cut.
function fit(text, font, width) {
  if (textWidth(text, font) <= width) return text;
  let [low, high] = [0, text.length];
  while (low < high) {
    const middle = (low + high + 1) >> 1;
    if (textWidth(`${text.slice(0, middle)}…`, font) <= width) low = middle;
    else high = middle - 1;
  }
  return `${text.slice(0, low)}…`;
}

const FONTS = { label: "600 13px system-ui, sans-serif", sub: "11px system-ui, sans-serif" };

class Scene {
  constructor(tree, open, top) {
    this.tree = tree;
    this.open = open;
    this.top = top;
    this.boxes = [];
    this.edges = [];
    this.box = new Map();
    this.sizes = new Map();
    this.wires();
    this.layOut();
  }

  isOpen(node) {
    return !node.leaf && this.open.has(node.id);
  }

  // The edges of each open group, and of the lanes, among its children and its ports: who makes a
  // value, and who reads it, as they are seen from there.
  wires() {
    const { graph, nodes, lanes } = this.tree;
    this.inner = new Map();
    this.across = new Map();
    for (const [name, readers] of graph.readers) {
      const maker = nodes.get(graph.maker.get(name));
      if (!maker) continue;
      const from = this.tree.line(maker);
      for (const id of new Set(readers)) {
        const reader = nodes.get(id);
        if (!reader || reader === maker) continue;
        const to = this.tree.line(reader);
        if (from[0] !== to[0]) {
          this.crossing(this.seen(from), this.seen(to), name);
          continue;
        }
        let depth = 0;
        while (from[depth] === to[depth]) depth += 1;
        const common = from[depth - 1];
        if (common !== from[0] && !this.seenOpen(from, depth - 1)) continue;
        this.wire(common, from[depth], to[depth], name);
        for (let at = depth; at < from.length - 1 && this.isOpen(from[at]); at++) {
          this.wire(from[at], from[at + 1], "out", name);
        }
        for (let at = depth; at < to.length - 1 && this.isOpen(to[at]); at++) {
          this.wire(to[at], "in", to[at + 1], name);
        }
      }
    }
    this.lanes = lanes;
  }

  // Whether all groups of a line from the lane on, up to a depth, are open.
  seenOpen(line, depth) {
    for (let at = 1; at <= depth; at++) if (!this.isOpen(line[at])) return false;
    return true;
  }

  // The last of a line that is to be seen.
  seen(line) {
    let at = 1;
    while (at < line.length - 1 && this.isOpen(line[at])) at += 1;
    return line[at];
  }

  wire(owner, from, to, name) {
    if (!this.inner.has(owner.id)) this.inner.set(owner.id, new Map());
    const wires = this.inner.get(owner.id);
    const end = (node) => (typeof node === "string" ? `${node}\n${name}` : this.isOpen(node) ? `${node.id}\n${name}` : node.id);
    const key = `${end(from)}\n\n${end(to)}`;
    if (!wires.has(key)) wires.set(key, { from, to, names: new Set() });
    wires.get(key).names.add(name);
  }

  crossing(from, to, name) {
    const key = `${from.id}\n\n${to.id}`;
    if (!this.across.has(key)) this.across.set(key, { from, to, names: new Set() });
    this.across.get(key).names.add(name);
  }

  size(node) {
    if (!this.sizes.has(node)) this.sizes.set(node, this.sized(node));
    return this.sizes.get(node);
  }

  sized(node) {
    if (!this.isOpen(node)) {
      const text = Math.max(textWidth(node.label, FONTS.label), textWidth(subtitle(node), FONTS.sub));
      const w = Math.max(BOX.least, Math.min(BOX.most, Math.ceil(text) + 2 * BOX.pad + (node.leaf ? 0 : 14)));
      return { node, w, h: BOX.height };
    }
    const inside = this.arrange(node, node.children, node.lane === 1);
    const title = textWidth(node.label, FONTS.label) + 70;
    const w = Math.max(inside.width + 2 * BOX.inset, Math.min(title, 320));
    return { node, w, h: inside.height + BOX.header + BOX.inset, inside, dx: (w - inside.width) / 2 };
  }

  // Lays out the children of a group. Where "up", data flows upwards: it is laid out the other way
  // round.
  arrange(owner, children, up, options = {}) {
    const items = children.map((child) => this.size(child));
    const place = new Map(items.map((item, at) => [item.node.id, at]));
    const edges = [];
    const ports = new Map();
    const port = (kind, name) => {
      const key = `${kind}\n${name}`;
      if (!ports.has(key)) ports.set(key, { port: kind, name, w: 2, h: 0 });
      return ports.get(key);
    };
    for (const { from, to, names } of this.inner.get(owner.id)?.values() ?? []) {
      const [name] = names;
      const a = typeof from === "string" ? port("in", name) : items[place.get(from.id)];
      const b = typeof to === "string" ? port("out", name) : items[place.get(to.id)];
      edges.push({ a, b, names, ends: [from, to] });
    }
    const ins = [...ports.values()].filter((p) => p.port === "in");
    const outs = [...ports.values()].filter((p) => p.port === "out");
    const cells = up ? [...outs, ...[...items].reverse(), ...ins] : [...ins, ...items, ...outs];
    this.layers(cells, edges, up, options);
    const index = new Map(cells.map((cell, at) => [cell, at]));
    const lines = edges.map((edge) => {
      const [head, tail] = up ? [edge.b, edge.a] : [edge.a, edge.b];
      const [out, into] = up
        ? [portAt(edge.b, "in", edge.names), portAt(edge.a, "out", edge.names)]
        : [portAt(edge.a, "out", edge.names), portAt(edge.b, "in", edge.names)];
      return { ...edge, from: index.get(head), to: index.get(tail), out, in: into };
    });
    const size = layered(cells, lines, options.heights);
    for (const line of lines) if (up) line.points.reverse();
    return { ...size, items, lines, ports };
  }

  // The layer of each cell: ports at the first and the last, what is between by its longest path.
  layers(cells, edges, up, options) {
    if (options.layers) {
      for (const cell of cells) {
        const known = options.layers.get(keyOf(cell.node, cell.node.lane));
        cell.layer = known?.layer ?? 0;
        cell.x = options.places ? known?.x : undefined;
      }
      return;
    }
    const inner = cells.filter((cell) => !cell.port);
    const at = new Map(inner.map((cell, at_) => [cell, at_]));
    const among = edges
      .map(({ a, b }) => (up ? { from: at.get(b), to: at.get(a) } : { from: at.get(a), to: at.get(b) }))
      .filter(({ from, to }) => from !== undefined && to !== undefined);
    if (!cells.some((cell) => cell.port) && among.length) return;
    // What has no edges within stands in rows; updates, beside layers that go down, in few columns.
    const columns = inner[0]?.node.lane === 2 ? Math.ceil(inner.length / 8) : Math.ceil(Math.sqrt(inner.length / 2)) + 1;
    const found = among.length ? layersOf(inner.length, among) : inner.map((_, at_) => Math.floor(at_ / columns));
    inner.forEach((cell, at_) => {
      cell.layer = found[at_] + 1;
    });
    const last = Math.max(0, ...inner.map((cell) => cell.layer)) + 1;
    for (const cell of cells) {
      if (cell.port) cell.layer = (cell.port === "in") === up ? last : 0;
    }
  }

  // The lanes side by side: each layer of the network in one row of all of them.
  layOut() {
    const used = this.lanes.filter((lane) => lane.children.length);
    const rows = this.rows(used);
    const heights = [];
    if (used.length > 1) {
      for (const lane of used) {
        for (const child of lane.children) {
          const row = rows.get(keyOf(child, lane.lane)).layer;
          const { h } = this.size(child);
          heights[row] = Math.max(heights[row] ?? 0, h);
        }
      }
    }
    let x = 0;
    for (const lane of used) {
      const places = lane.lane === 0 && this.top !== null;
      const options = rows ? { layers: rows, places, heights } : {};
      const found = this.arrange(lane, lane.children, lane.lane === 1, options);
      this.put(found, x, used.length > 1 ? 40 : 0, null);
      if (used.length > 1) {
        this.boxes.push({ heading: true, label: ["Forward", "Backward", "Update"][lane.lane], x: x + found.width / 2, y: 8, w: 0, h: 0 });
      }
      x += found.width + BOX.lanes;
    }
    for (const wire of this.across.values()) this.drawAcross(wire);
    this.finish();
  }

  // The layer of each box of the top level: those that the page was made with, else by longest paths
  // over all lanes, in which backward and forward of a layer are one.
  rows(used) {
    const known = new Map();
    if (this.top !== null) {
      for (const [key, [layer, x]] of Object.entries(this.top)) known.set(key, { layer, x: x * 190 });
    } else if (used.length === 1) {
      return null;
    } else {
      const forward = used[0].children;
      const at = new Map(forward.map((child, at_) => [child.id, at_]));
      const edges = [...(this.inner.get(used[0].id)?.values() ?? [])]
        .map(({ from, to }) => ({ from: at.get(from.id), to: at.get(to.id) }));
      layersOf(forward.length, edges).forEach((layer, at_) => {
        known.set(keyOf(forward[at_], 0), { layer });
      });
    }
    const last = Math.max(0, ...[...known.values()].map(({ layer }) => layer));
    for (const lane of used) {
      if (lane.lane === 0) continue;
      const wires = [...(this.inner.get(lane.id)?.values() ?? [])];
      for (const child of [...lane.children].reverse()) {
        const key = keyOf(child, lane.lane);
        const twin = known.get(`0:${key.slice(2)}`);
        const above = wires.filter(({ from }) => from === child)
          .map(({ to }) => known.get(keyOf(to, lane.lane))?.layer ?? -1);
        known.set(key, { layer: twin?.layer ?? (above.length ? Math.max(...above) + 1 : lane.lane === 1 ? last : 0) });
      }
    }
    return known;
  }

  // Puts what was arranged where it belongs, with all that is within.
  put(found, x, y, parent) {
    for (const item of found.items) {
      const box = {
        id: item.node.id, node: item.node, open: this.isOpen(item.node), parent,
        x: x + item.x - item.w / 2, y: y + item.y, w: item.w, h: item.h,
      };
      this.boxes.push(box);
      this.box.set(box.id, box);
      if (item.inside) this.put(item.inside, box.x + item.dx, box.y + BOX.header, box);
    }
    for (const line of found.lines) {
      const [from, to] = line.ends.map((end) => (typeof end === "string" ? null : end.id));
      this.edges.push({
        from, to, names: line.names,
        points: line.points.map(([px, py]) => [px + x, py + y]),
        ports: [typeof line.ends[0] === "string" || this.isOpen(line.ends[0]), typeof line.ends[1] === "string" || this.isOpen(line.ends[1])],
      });
    }
  }

  // From lane to lane: from side to side.
  drawAcross({ from, to, names }) {
    const [a, b] = [this.box.get(from.id), this.box.get(to.id)];
    if (!a || !b) return;
    const right = a.x < b.x;
    const start = [right ? a.x + a.w : a.x, a.y + a.h / 2];
    const end = [right ? b.x : b.x + b.w, b.y + b.h / 2];
    this.edges.push({ from: from.id, to: to.id, names, points: [start, end], across: true, ports: [true, true] });
  }

  // Spreads the ends of edges along the sides of closed boxes, brings open ones to their ports, and
  // finds how large all of it is.
  finish() {
    const sides = new Map();
    for (const edge of this.edges) {
      if (edge.across) continue;
      const ends = [[edge.from, 0, 1], [edge.to, edge.points.length - 1, edge.points.length - 2]];
      ends.forEach(([id, at, next], which) => {
        if (id === null || edge.ports[which]) return;
        const box = this.box.get(id);
        const side = `${id}\n${edge.points[at][1] > box.y + box.h / 2}`;
        if (!sides.has(side)) sides.set(side, []);
        sides.get(side).push({ box, point: edge.points[at], toward: edge.points[next][0] });
      });
    }
    for (const ends of sides.values()) {
      ends.sort((a, b) => a.toward - b.toward);
      const [{ box }] = ends;
      const step = Math.min(16, (box.w - 24) / Math.max(1, ends.length - 1));
      ends.forEach(({ point }, at) => {
        point[0] += (at - (ends.length - 1) / 2) * step;
      });
    }
    const solid = this.boxes.filter((box) => !box.heading);
    const xs = [...solid.flatMap((box) => [box.x, box.x + box.w]), ...this.edges.flatMap((edge) => edge.points.map(([px]) => px))];
    const ys = this.boxes.flatMap((box) => [box.y, box.y + box.h]);
    const [left, top] = [least(xs), least(ys)];
    this.bounds = { x: left, y: top, w: -least(xs.map((v) => -v)) - left, h: -least(ys.map((v) => -v)) - top };
  }
}

const least = (numbers) => numbers.reduce((a, b) => Math.min(a, b), Infinity);

// Where an edge meets a box, from the middle of the box: an open group at its port.
function portAt(item, kind, names) {
  const port = item.inside?.ports.get(`${kind}\n${[...names][0]}`);
  return port ? port.x + item.dx - item.w / 2 : 0;
}

// The name of a box of the top level, as the page was made with it.
function keyOf(node, lane) {
  const name = node.leaf ? (node.record.op === "output" ? node.id : node.record.path.split(".")[0]) : node.path.split(".")[0];
  return `${lane}:${name}`;
}

// What stands below the name of a closed box.
function subtitle(node) {
  if (!node.leaf) {
    const [first, ...others] = node.operators;
    const most = first[1] > 1 ? `${first[1]} ${first[0]}` : first[0];
    return `${node.leaves} nodes: ${most}${others.length ? " …" : ""}`;
  }
  const { record } = node;
  if (record.op === "output" || record.op === "input") return record.op;
  if (record.inner) return [...new Set(record.inner)].slice(0, 4).join(" · ");
  return node.label === record.op ? suffixOf(node.id) && `~${suffixOf(node.id)}` : record.op;
}
