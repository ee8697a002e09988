// A graph at one stage: its records, who reads whom, and the tree of its layers.

const HIDDEN = new Set(["parameter", "state", "hyperparameter"]);

// The stages of a graph, each made from the differences when it is first looked at.
class Stages {
  constructor(stages) {
    this.list = stages;
    this.made = [];
  }

  get count() {
    return this.list.length;
  }

  at(number) {
    for (let stage = this.made.length; stage <= number; stage++) {
      const { set, gone } = this.list[stage];
      const records = new Map(stage ? this.made[stage - 1].records : []);
      for (const id of gone) records.delete(id);
      for (const [id, record] of Object.entries(set)) records.set(id, { id, ...record });
      this.made.push(new Graph(records, this.list[stage], this.made[stage - 1] ?? null));
    }
    return this.made[number];
  }
}

// Whether two records are of the same computation, wherever it stands.
const alike = (a, b) => ["op", "attributes", "in", "out", "schedule"]
  .every((key) => JSON.stringify(a[key]) === JSON.stringify(b[key]));

class Graph {
  constructor(records, stage, before) {
    this.records = records;
    this.stage = stage;
    this.before = before;
    this.trees = new Map();
  }

  // What else there is to know is found when it is first asked for: the slider passes by stages.
  get(name, find) {
    this.found ??= new Map();
    if (!this.found.has(name)) this.found.set(name, find());
    return this.found.get(name);
  }

  // Of what is new, or computes something else than before: which of the two.
  get changed() {
    return this.get("changed", () => {
      const found = new Map();
      if (this.before === null) return found;
      const { records } = this.before;
      for (const [id, record] of Object.entries(this.stage.set)) {
        if (!records.has(id)) found.set(id, "new");
        else if (!alike(records.get(id), record)) found.set(id, "changed");
      }
      return found;
    });
  }

  // The id of the node that makes each value.
  get maker() {
    return this.get("maker", () => {
      const found = new Map();
      for (const [id, record] of this.records) for (const [name] of record.out) found.set(name, id);
      return found;
    });
  }

  // The ids of the nodes that read each value.
  get readers() {
    return this.get("readers", () => {
      const found = new Map();
      for (const [id, record] of this.records) {
        for (const name of record.in) {
          if (!found.has(name)) found.set(name, []);
          found.get(name).push(id);
        }
      }
      return found;
    });
  }

  // The place of each id in an order in which they can run.
  get order() {
    return this.get("order", () => new Map(this.sorted().map((id, place) => [id, place])));
  }

  type(name) {
    const record = this.records.get(this.maker.get(name));
    return record?.out.find(([other]) => other === name)?.[1] ?? "";
  }

  // The ids in an order in which they can run (Kahn 1962); of those that can, the first known goes.
  sorted() {
    const waits = new Map();
    for (const [id, record] of this.records) {
      waits.set(id, record.in.filter((name) => this.maker.has(name)).length);
    }
    const ready = [...this.records.keys()].filter((id) => waits.get(id) === 0);
    const found = [];
    for (let next = 0; next < ready.length; next++) {
      const id = ready[next];
      found.push(id);
      for (const [name] of this.records.get(id).out) {
        for (const reader of this.readers.get(name) ?? []) {
          waits.set(reader, waits.get(reader) - 1);
          if (waits.get(reader) === 0) ready.push(reader);
        }
      }
    }
    return found;
  }

  shown(record, weights) {
    return weights || !(record.fixed || HIDDEN.has(record.op));
  }

  // The groups of each phase, with their leaves; "weights" says whether what depends on parameters
  // alone is there too. A group of one is that one.
  tree(weights) {
    if (!this.trees.has(weights)) this.trees.set(weights, new Tree(this, weights));
    return this.trees.get(weights);
  }
}

class Tree {
  constructor(graph, weights) {
    this.graph = graph;
    this.nodes = new Map();
    this.lanes = [0, 1, 2].map((lane) => group(lane, "", "", null));
    for (const [id, record] of graph.records) {
      if (!graph.shown(record, weights)) continue;
      let at = this.lanes[record.phase];
      if (record.op !== "output") {
        const parts = record.path.split(".");
        parts.forEach((part, depth) => {
          if (!at.index.has(part)) {
            const path = parts.slice(0, depth + 1).join(".");
            const made = group(record.phase, path, part, at);
            at.index.set(part, made);
            at.children.push(made);
          }
          at = at.index.get(part);
        });
      }
      at.children.push({ id, leaf: true, record, lane: record.phase, parent: at, label: leafName(record) });
    }
    for (const lane of this.lanes) {
      lane.children = lane.children.map((child) => this.simplified(child, lane));
      this.named(lane);
    }
    this.join();
    for (const lane of this.lanes) this.settled(lane);
    this.several = this.lanes.filter((lane) => lane.children.length).length > 1;
  }

  // A group with one child becomes the child, which takes over its name.
  simplified(node, parent) {
    node.parent = parent;
    if (node.leaf) return node;
    if (node.children.length === 1) {
      const [only] = node.children;
      only.label = only.leaf && only.record.path === node.path ? node.label : `${node.label}.${only.label}`;
      return this.simplified(only, parent);
    }
    node.children = node.children.map((child) => this.simplified(child, node));
    return node;
  }

  named(node) {
    this.nodes.set(node.id, node);
    if (!node.leaf) node.children.forEach((child) => this.named(child));
  }

  // Which children of a group read what others of them make: "before" of each.
  join() {
    for (const [name, readers] of this.graph.readers) {
      const maker = this.nodes.get(this.graph.maker.get(name));
      if (!maker) continue;
      const from = this.line(maker);
      for (const id of readers) {
        const reader = this.nodes.get(id);
        if (!reader || reader === maker || reader.lane !== maker.lane) continue;
        const to = this.line(reader);
        let depth = 0;
        while (from[depth] === to[depth]) depth += 1;
        (to[depth].before ??= new Set()).add(from[depth]);
      }
    }
  }

  // Sums of a group, and its children in an order in which they can run.
  settled(node) {
    if (node.leaf) {
      node.leaves = 1;
      node.last = this.graph.order.get(node.id) ?? 0;
      node.change = this.graph.changed.has(node.id) ? 1 : 0;
      return node;
    }
    node.children.forEach((child) => this.settled(child));
    node.children = ordered(node.children);
    node.last = node.children.reduce((last, child) => Math.max(last, child.last), 0);
    node.leaves = node.children.reduce((sum, child) => sum + child.leaves, 0);
    node.change = node.children.reduce((sum, child) => sum + child.change, 0);
    node.operators = [...countOps(node)].sort((a, b) => b[1] - a[1]);
    return node;
  }

  // From the lane down to a node, both included.
  line(node) {
    const found = [];
    for (let at = node; at; at = at.parent) found.unshift(at);
    return found;
  }
}

// Each behind all that it reads; of several by when they are done, for a part of a group may be ready
// long before the group has its turn, and so where groups read one another.
function ordered(children) {
  const rest = [...children].sort((a, b) => a.last - b.last);
  const done = new Set();
  const found = [];
  const ready = (child) => [...child.before ?? []].every((other) => done.has(other));
  while (rest.length) {
    const [next] = rest.splice(Math.max(0, rest.findIndex(ready)), 1);
    done.add(next);
    found.push(next);
  }
  return found;
}

function countOps(node, counts = new Map()) {
  if (node.leaf) counts.set(node.record.op, (counts.get(node.record.op) ?? 0) + 1);
  else for (const child of node.children) countOps(child, counts);
  return counts;
}

function group(lane, path, label, parent) {
  return { id: `g:${lane}:${path}`, leaf: false, lane, path, label, parent, children: [], index: new Map() };
}

// What a node is called among others of its layer: by its op; an output by its name.
const leafName = (record) => (record.op === "output" ? record.path : record.op);

// What the name of a value adds to the path of its layer: "grad", "folded.2".
const suffixOf = (id) => id.slice(2).split("~")[1] ?? "";
