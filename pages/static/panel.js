// What is known of a node, of a group and of a stage, beside the graph.

class Panel {
  constructor(app) {
    this.app = app;
    this.root = el("div", { class: "panel-body", role: "tabpanel" });
  }

  node(node) {
    this.root.replaceChildren(...(node === null ? this.nothing() : node.leaf ? this.leaf(node) : this.group(node)));
    this.root.scrollTop = 0;
  }

  nothing() {
    const { data } = this.app;
    return [
      el("h2", {}, data.name),
      el("dl", { class: "facts" }, data.facts.map(([name, value]) => [el("dt", {}, name), el("dd", {}, value)])),
      el("p", { class: "soft" }, "Choose a box to see its line of source, formula, types, gradient, schedule and code."),
      data.stages.length > 1 && el("p", { class: "soft" }, this.stagesText(data.stages)),
    ].filter(Boolean);
  }

  stagesText(stages) {
    const step = stages.findIndex(({ name }) => name === "training step");
    const later = step > 0 ? ` The backward pass and the update stand beside it from stage ${step + 1} on.` : "";
    return `The slider goes from the network as it was written through all passes to what runs ([ and ]).${later}`;
  }

  leaf(node) {
    const { record } = node;
    const text = (place) => (place === undefined ? undefined : this.app.texts?.[place]);
    return [
      el("header", { class: "title" },
        el("h2", {}, record.op),
        el("p", { class: "path" }, record.path)),
      this.change(node),
      this.source(text(record.source)),
      record.formula !== undefined && section("Formula", el("pre", { class: "prose" }, text(record.formula) ?? "…")),
      this.attributes(text(record.attributes)),
      this.values(record),
      this.costs(node),
      record.gradient !== undefined && folded("Gradient", el("pre", {}, text(record.gradient) ?? "…")),
      this.kernel(record),
      this.schedule(record),
      ...this.code(record),
    ].filter(Boolean);
  }

  change(node) {
    const { changed, stage } = this.app.graph;
    const kind = changed.get(node.id);
    if (!kind) return null;
    const rules = stage.rules.filter((rule) => rule.fired.some(([path]) => path === node.record.path));
    return el("div", { class: "notice" },
      el("p", {}, `${kind === "new" ? "New" : "Changed"} in this stage: ${stage.name}`),
      rules.map((rule) => el("div", {}, el("p", {}, el("b", {}, rule.name)), el("pre", { class: "prose" }, rule.equation))));
  }

  source(frames) {
    if (!frames) return null;
    return section("Source", frames.map(([file, line, around], depth) => {
      const lines = depth === 0 ? around : around.filter(([number]) => number === line);
      const block = el("pre", { class: "source" }, lines.map(([number, text]) =>
        el("span", { class: number === line ? "line here" : "line" },
          el("span", { class: "count" }, number), text || " ")));
      return [el("p", { class: "soft small" }, `${depth ? "called from " : ""}${file}:${line}`), lines.length ? block : null];
    }));
  }

  attributes(rows) {
    if (!rows) return null;
    const lines = rows.filter(([, value]) => !value.includes("\n"));
    const blocks = rows.filter(([, value]) => value.includes("\n"));
    return section("Attributes",
      el("table", { class: "pairs" }, lines.map(([name, value, usual]) =>
        el("tr", { class: usual ? "usual" : null }, el("th", {}, name), el("td", {}, el("code", {}, value))))),
      blocks.map(([name, value]) => el("div", { class: "fold" }, el("p", { class: "soft small" }, name), el("pre", {}, value))));
  }

  values(record) {
    const { graph } = this.app;
    const row = (kind, name, type, others) => el("tr", {},
      el("td", { class: "soft" }, kind),
      el("td", {}, this.link(graph.maker.get(name), name), el("div", { class: "type" }, type),
        others.length ? el("div", { class: "small soft" }, "read by ", others) : null));
    const readers = (name) => (graph.readers.get(name) ?? []).slice(0, 12)
      .flatMap((id, at) => [at ? ", " : "", this.link(id, graph.records.get(id).path)]);
    const updates = (record.updates ?? []).map((name) => el("tr", {},
      el("td", { class: "soft" }, "new"), el("td", {}, this.link(`n:${name}`, name), el("div", { class: "small soft" }, "replaced in place when the graph has run"))));
    return section("Values", el("table", { class: "values" },
      record.in.map((name) => row("in", name, graph.type(name), [])),
      record.out.map(([name, type]) => row("out", name, type, readers(name))),
      updates));
  }

  link(id, text) {
    if (!id || !this.app.graph.records.has(id)) return el("code", {}, text);
    return el("button", { class: "link", on: { click: () => this.app.select(id, true) } }, text);
  }

  costs(node) {
    const cost = this.app.measures.of(node);
    const { peak } = this.app.measures;
    const rows = [
      ["operations", short(cost.flops, "FLOP")],
      ["bytes touched", short(cost.bytes, "B")],
    ];
    if (cost.seconds !== null) {
      rows.push(["time", `${duration(cost.seconds)}, ${percent(cost.share)} of the call`]);
      rows.push(["speed", `${short(cost.flops / cost.seconds, "FLOP/s")}, ${short(cost.bytes / cost.seconds, "B/s")}`]);
      if (peak) rows.push(["of the peak", this.shareOfPeak(cost.flops / cost.seconds / peak, node)]);
    }
    return section("Cost", el("table", { class: "pairs" }, rows.map(([name, value]) =>
      el("tr", {}, el("th", {}, name), el("td", {}, value)))));
  }

  shareOfPeak(share, node) {
    const fewer = share > 1 && node.record?.schedule?.startsWith("winograd");
    return `${percent(share)}${fewer ? ": Winograd's algorithm multiplies less than is counted" : ""}`;
  }

  // Where the code of a node is: in the kernel of the last stage that it has become part of.
  kernel(record) {
    const { stages, number } = this.app;
    const last = stages.count - 1;
    if (number === last || !this.app.data.forms.length) return null;
    const { records } = stages.at(last);
    const own = records.get(record.id)?.functions ? records.get(record.id) : null;
    const found = own ?? [...records.values()].find((other) => other.functions?.length && other.row[0] === record.path);
    if (!found) return null;
    const go = () => {
      this.app.goTo(last);
      this.app.select(found.id, true);
    };
    return section("Code", el("p", {}, "Its schedule and code are those of the kernel ",
      el("button", { class: "link", on: { click: go } }, found.path), "."));
  }

  schedule(record) {
    if (!record.schedule) return null;
    const table = record.choices.length > 1 && el("table", { class: "pairs" },
      el("tr", {}, el("th", {}, "could run as"), el("th", {}, "predicted cycles")),
      record.choices.map(([label, cycles]) => el("tr", {}, el("td", {}, label), el("td", { class: "number" }, cycles === null ? "–" : short(cycles)))));
    return section("Schedule", el("p", {}, el("code", {}, record.schedule)), table || null);
  }

  code(record) {
    if (!record.functions?.length) return [];
    return this.app.data.forms.map(([form, title]) => {
      const body = el("div", {}, el("p", { class: "soft" }, "unpacking …"));
      const block = folded(title, body);
      block.addEventListener("toggle", async () => {
        if (!block.open) return;
        const functions = await page.unpack(`code-${form}`);
        body.replaceChildren(...record.functions.map((name) => codeBlock(name, functions[name] ?? "")));
      }, { once: true });
      return block;
    });
  }

  group(node) {
    const cost = this.app.measures.of(node);
    const rows = [["nodes", node.leaves], ["operations", short(cost.flops, "FLOP")], ["bytes touched", short(cost.bytes, "B")]];
    if (cost.seconds !== null) rows.push(["time", `${duration(cost.seconds)}, ${percent(cost.share)} of the call`]);
    return [
      el("header", { class: "title" }, el("h2", {}, node.path), el("p", { class: "path" }, "layer group")),
      section("Sum", el("table", { class: "pairs" }, rows.map(([name, value]) => el("tr", {}, el("th", {}, name), el("td", {}, value))))),
      section("Ops", el("table", { class: "pairs" }, node.operators.map(([name, count]) =>
        el("tr", {}, el("th", {}, name), el("td", { class: "number" }, count))))),
    ];
  }

  // ---- what a pass did -------------------------------------------------------------------------

  stage() {
    const { graph, number, stages } = this.app;
    const { stage, changed, records } = graph;
    const counts = (ids, of) => {
      const found = new Map();
      for (const id of ids) found.set(of.get(id)?.op, (found.get(of.get(id)?.op) ?? 0) + 1);
      return [...found].sort((a, b) => b[1] - a[1]).map(([op, count]) => `${count} ${op}`).join(", ");
    };
    const before = number ? stages.at(number - 1).records : new Map();
    const ids = (kind) => [...changed].filter(([, other]) => other === kind).map(([id]) => id);
    const lines = [["new", ids("new"), records], ["changed", ids("changed"), records], ["gone", stage.gone, before]]
      .filter(([, found]) => found.length);
    this.root.replaceChildren(...[
      el("h2", {}, stage.name),
      stage.about && el("pre", { class: "prose about" }, stage.about),
      lines.length ? section("Nodes", el("table", { class: "pairs" }, lines.map(([name, found, of]) =>
        el("tr", {}, el("th", {}, name), el("td", {}, counts(found, of)))))) : null,
      stage.rules.length ? section("Rules", stage.rules.map((rule) => this.rule(rule))) : null,
    ].filter(Boolean));
    this.root.scrollTop = 0;
  }

  rule(rule) {
    const times = rule.fired.reduce((sum, [, count]) => sum + count, 0);
    const places = (entries) => entries.slice(0, 60).flatMap(([path, note], at) => [
      at ? ", " : "", this.place(path), typeof note === "string" ? ` (${note})` : ""]);
    return el("details", { class: "rule", open: times > 0 },
      el("summary", {}, el("b", {}, rule.name), ` ${times ? `fired ${times === 1 ? "once" : `${times} times`}` : "did not fire"}`),
      el("pre", { class: "prose" }, rule.equation),
      rule.fired.length ? el("p", { class: "small" }, "at ", places(rule.fired)) : null,
      rule.refused.length ? el("p", { class: "small soft" }, "refused at ", places(rule.refused)) : null);
  }

  // A layer by its path: its first node is chosen.
  place(path) {
    const found = [...this.app.graph.records.values()].find((record) => record.path === path && this.app.tree.nodes.has(record.id));
    return this.link(found?.id, path);
  }
}

function section(title, ...children) {
  return el("section", {}, el("h3", {}, title), children);
}

function folded(title, ...children) {
  return el("details", { class: "fold" }, el("summary", {}, title), children);
}

function codeBlock(name, text) {
  const copy = el("button", { class: "copy", title: "copy" }, "copy");
  copy.addEventListener("click", async () => {
    try {
      await navigator.clipboard.writeText(text);
      copy.textContent = "copied";
    } catch {
      copy.textContent = "not allowed here"; // in a frame, or from a file
    }
  });
  const count = text.split("\n").length;
  return el("div", { class: "code" },
    el("div", { class: "code-head" }, el("code", {}, name), el("span", { class: "soft small" }, `${count} lines`), copy),
    el("pre", { tabindex: 0 }, text));
}
