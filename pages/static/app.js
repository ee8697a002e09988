// The page of a graph: what is shown, and what the mouse and the keyboard do.

const OPEN_AT_FIRST = 44; // boxes: groups are opened as long as no more than these are to be seen

class App {
  constructor(data) {
    this.data = data;
    this.stages = new Stages(data.stages);
    this.measures = new Measures(data.profile);
    this.open = new Set();
    this.number = 0;
    this.weights = false;
    this.colouring = "kind";
    this.chosen = null;
    this.tab = "node";
    this.matches = [];
    this.match = -1;
    this.build();
    this.enter(0);
    this.openSome();
    this.draw();
    this.canvas.fit(0.62);
    page.unpack("texts").then((texts) => {
      this.texts = texts;
      this.showPanel();
    });
  }

  // ---- what there is ---------------------------------------------------------------------------

  build() {
    this.panel = new Panel(this);
    this.memory = new Memory(this.data.memory, (name) => this.showValue(name));
    const button = (label, title, key, click) =>
      el("button", { title: key ? `${title} (${key})` : title, "aria-label": title, on: { click } }, label);
    this.search = el("input", {
      type: "search", placeholder: "Search layers, ops, shapes", "aria-label": "search", spellcheck: "false",
      on: { input: () => this.find(), keydown: (event) => this.searchKey(event) },
    });
    this.found = el("span", { class: "count soft small", role: "status" });
    this.colour = el("select", { "aria-label": "colour by", on: { change: () => this.recolour() } },
      this.measures.scales().map(([name, title]) => el("option", { value: name }, `colour: ${title}`)));
    this.weightsButton = el("button", {
      "aria-pressed": "false", title: "show parameters, and what is computed of them alone (w)", on: { click: () => this.toggleWeights() },
    }, "weights");
    const bar = el("header", { class: "bar-top" },
      el("h1", { title: this.data.name }, this.data.name), el("span", { class: "soft kind" }, this.data.kind),
      el("div", { class: "search" }, this.search, this.found),
      el("div", { class: "tools" }, this.colour, this.weightsButton,
        button("open all", "open all groups", "e", () => this.openAll()),
        button("close all", "close all groups", "c", () => this.closeAll()),
        button("−", "zoom out", "-", () => this.canvas.camera.zoom(0.8)),
        button("+", "zoom in", "+", () => this.canvas.camera.zoom(1.25)),
        button("fit", "show all of it", "0", () => this.canvas.fit()),
        button("?", "keys", "?", () => this.help.showModal())));
    this.drawing = svg("svg", { class: "drawing", tabindex: 0, role: "application", "aria-label": "the graph" });
    this.map = el("canvas", { class: "map", "aria-hidden": "true" });
    this.legend = el("div", { class: "legend small" });
    const tab = (name, label) => el("button", { role: "tab", "data-tab": name, on: { click: () => this.showTab(name) } }, label);
    this.tabs = el("nav", { class: "tabs", role: "tablist" }, tab("node", "Node"), tab("stage", "Pass"), tab("memory", "Memory"));
    this.side = el("aside", {}, this.tabs, el("div", { class: "holder" }));
    this.slider = el("input", {
      type: "range", min: 0, max: this.stages.count - 1, value: 0, "aria-label": "stage",
      on: { input: () => this.goTo(Number(this.slider.value)) },
    });
    this.stageName = el("button", { class: "stage-name", title: "what this pass did", on: { click: () => this.showTab("stage") } });
    const foot = el("footer", { hidden: this.stages.count < 2 },
      button("‹", "the stage before", "[", () => this.goTo(this.number - 1)), this.slider,
      button("›", "the next stage", "]", () => this.goTo(this.number + 1)), this.stageName);
    this.help = keys();
    document.body.append(el("div", { id: "app" }, bar,
      el("main", {}, this.drawing, this.legend, this.map), this.side, foot), this.help);
    this.canvas = new Canvas(this.drawing, this.map, { select: (id) => this.select(id), toggle: (id) => this.toggle(id) });
    document.addEventListener("keydown", (event) => this.key(event));
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => this.canvas.drawMap());
  }

  enter(number) {
    this.number = number;
    this.graph = this.stages.at(number);
    this.tree = this.graph.tree(this.weights);
    if (this.chosen !== null && !this.tree.nodes.has(this.chosen)) this.chosen = null;
  }

  // Level by level, but not layers, whose nodes are details of them.
  openSome() {
    let level = this.tree.lanes.flatMap((lane) => lane.children);
    let seen = level.length;
    while (level.length) {
      const groups = level.filter((node) => !node.leaf && !node.children.every((child) => child.record?.path === node.path));
      const next = groups.flatMap((node) => node.children);
      seen += next.length - groups.length;
      if (seen > OPEN_AT_FIRST) return;
      for (const { id } of groups) this.open.add(id);
      level = next;
    }
  }

  // ---- drawing ---------------------------------------------------------------------------------

  draw() {
    const scene = new Scene(this.tree, this.open, this.weights ? null : this.graph.stage.top);
    this.paint = this.measures.colours(this.colouring, scene.boxes);
    const found = new Set(this.matches);
    const marks = {
      changed: (node) => node.change > 0,
      found: (node) => found.size > 0 && (node.leaf ? found.has(node.id) : leavesWithin(node).some(({ id }) => found.has(id))),
      tip: (node) => (node ? this.tip(node) : ""),
    };
    this.canvas.show(scene, this.paint.colour, marks);
    this.canvas.highlight(this.chosen !== null && scene.box.has(this.chosen) ? this.chosen : null);
    this.canvas.moved();
    this.showLegend();
    this.stageName.replaceChildren(el("b", {}, this.graph.stage.name),
      el("span", { class: "soft" }, ` ${this.number + 1} of ${this.stages.count}${this.graph.changed.size ? `, ${this.graph.changed.size} nodes new or changed` : ""}`));
    this.slider.value = this.number;
    this.slider.setAttribute("aria-valuetext", this.graph.stage.name);
    this.showPanel();
  }

  tip(node) {
    if (!node.leaf) return `${node.path}: ${node.leaves} nodes`;
    const { record } = node;
    return `${record.path} = ${record.op}(${record.in.join(", ")})\n${record.out.map(([, type]) => type).join(", ")}`;
  }

  showLegend() {
    const { most } = this.paint;
    if (this.colouring === "kind" || most === null) {
      this.legend.replaceChildren();
      return;
    }
    const text = { time: duration(most), flops: short(most, "FLOP"), bytes: short(most, "B"), peak: "100\u202f% of the peak" }[this.colouring];
    this.legend.replaceChildren("0", el("span", { class: "ramp" }), most ? text : "nothing known");
  }

  showPanel() {
    for (const tab of this.tabs.children) {
      tab.setAttribute("aria-selected", String(tab.dataset.tab === this.tab));
    }
    const holder = this.side.querySelector(".holder");
    if (this.tab === "memory") holder.replaceChildren(this.memory.root);
    else {
      if (this.tab === "stage") this.panel.stage();
      else this.panel.node(this.chosen === null ? null : this.tree.nodes.get(this.chosen));
      holder.replaceChildren(this.panel.root);
    }
  }

  showTab(name) {
    this.tab = name;
    this.showPanel();
  }

  // ---- what one does ---------------------------------------------------------------------------

  // Chooses a node; "reveal" opens the groups around it and brings it into sight.
  select(id, reveal = false) {
    if (id !== null && !this.tree.nodes.has(id)) {
      if (!this.graph.records.has(id)) return;
      this.toggleWeights();
    }
    this.chosen = id;
    if (reveal && id !== null) {
      const around = this.tree.line(this.tree.nodes.get(id)).slice(1, -1).filter((node) => !this.open.has(node.id));
      for (const node of around) this.open.add(node.id);
      if (around.length) this.draw();
      this.canvas.highlight(id);
      this.canvas.reveal(id, true);
    } else {
      this.canvas.highlight(id !== null && this.canvas.scene.box.has(id) ? id : null);
    }
    if (id !== null) this.tab = "node";
    this.canvas.drawMap();
    this.showPanel();
  }

  // The node that makes a value; where it is not in this stage, in the last one.
  showValue(name) {
    if (!this.graph.maker.has(name)) this.goTo(this.stages.count - 1);
    const id = this.graph.maker.get(name);
    if (id) this.select(id, true);
  }

  toggle(id) {
    const where = this.canvas.onScreen(id);
    if (!this.open.delete(id)) this.open.add(id);
    this.chosen = id;
    this.draw();
    this.canvas.hold(id, where);
  }

  openAll() {
    for (const [id, node] of this.tree.nodes) if (!node.leaf) this.open.add(id);
    this.draw();
    this.canvas.fit(0.42);
  }

  closeAll() {
    this.open.clear();
    this.draw();
    this.canvas.fit(0.62);
  }

  toggleWeights() {
    this.weights = !this.weights;
    this.weightsButton.setAttribute("aria-pressed", String(this.weights));
    this.enter(this.number);
    this.draw();
  }

  recolour() {
    this.colouring = this.colour.value;
    this.draw();
  }

  goTo(number) {
    const next = Math.max(0, Math.min(this.stages.count - 1, number));
    if (next === this.number) return;
    const anchor = this.chosen ?? this.canvas.scene.boxes.find((box) => !box.heading)?.id;
    const where = this.canvas.onScreen(anchor);
    this.enter(next);
    if (this.tab === "node" && this.chosen === null) this.tab = "stage";
    this.draw();
    if (!this.canvas.hold(anchor, where)) this.canvas.fit(0.62);
  }

  // ---- search ----------------------------------------------------------------------------------

  find() {
    const words = this.search.value.toLowerCase().split(/\s+/).filter(Boolean);
    this.matches = [];
    this.match = -1;
    if (words.length) {
      for (const [id, node] of this.tree.nodes) {
        if (!node.leaf) continue;
        const { path, op, out, inner } = node.record;
        const text = `${path} ${op} ${out.flat().join(" ")} ${inner?.join(" ") ?? ""}`.toLowerCase();
        if (words.every((word) => text.includes(word))) this.matches.push(id);
      }
    }
    this.found.textContent = words.length ? `${this.matches.length} found` : "";
    this.draw();
  }

  searchKey(event) {
    if (event.key === "Enter" && this.matches.length) {
      const step = event.shiftKey ? -1 : 1;
      this.match = (this.match + step + this.matches.length) % this.matches.length;
      this.found.textContent = `${this.match + 1} of ${this.matches.length}`;
      this.select(this.matches[this.match], true);
    } else if (event.key === "Escape") {
      this.search.value = "";
      this.find();
      this.drawing.focus();
    } else return;
    event.preventDefault();
    event.stopPropagation();
  }

  // ---- keys ------------------------------------------------------------------------------------

  key(event) {
    if (event.ctrlKey || event.metaKey || event.altKey || this.help.open) return;
    const typing = event.target.matches("input[type=search], select");
    if (typing) return;
    const actions = {
      "/": () => this.search.focus(),
      "[": () => this.goTo(this.number - 1),
      "]": () => this.goTo(this.number + 1),
      e: () => this.openAll(),
      c: () => this.closeAll(),
      w: () => this.toggleWeights(),
      "+": () => this.canvas.camera.zoom(1.25),
      "=": () => this.canvas.camera.zoom(1.25),
      "-": () => this.canvas.camera.zoom(0.8),
      0: () => this.canvas.fit(),
      m: () => this.showTab("memory"),
      p: () => this.showTab("stage"),
      n: () => this.showTab("node"),
      "?": () => this.help.showModal(),
      Escape: () => this.select(null),
    };
    if (event.target === this.drawing || event.target === document.body) {
      Object.assign(actions, {
        ArrowUp: () => this.step(0, -1),
        ArrowDown: () => this.step(0, 1),
        ArrowLeft: () => this.step(-1, 0),
        ArrowRight: () => this.step(1, 0),
        Enter: () => this.enterGroup(),
        " ": () => this.enterGroup(),
      });
    }
    const action = actions[event.key];
    if (!action) return;
    event.preventDefault();
    action();
  }

  enterGroup() {
    const node = this.tree.nodes.get(this.chosen);
    if (node && !node.leaf) this.toggle(node.id);
  }

  // To the nearest box in a direction: along edges upwards and downwards, else by place.
  step(dx, dy) {
    const boxes = this.canvas.scene.boxes.filter((box) => !box.heading);
    const here = this.canvas.scene.box.get(this.chosen);
    if (!here) {
      this.select(boxes[0]?.id ?? null);
      if (boxes.length) this.canvas.reveal(boxes[0].id);
      return;
    }
    const middle = (box) => [box.x + box.w / 2, box.y + (box.open ? 15 : box.h / 2)];
    const [x, y] = middle(here);
    const { near } = this.canvas;
    let best = null;
    for (const box of boxes) {
      if (box === here) continue;
      const [bx, by] = middle(box);
      const along = (bx - x) * dx + (by - y) * dy;
      const aside = Math.abs((bx - x) * dy) + Math.abs((by - y) * dx);
      if (along <= 1) continue;
      const cost = along + 2 * aside - (near.has(box.id) ? 1e4 : 0);
      if (best === null || cost < best.cost) best = { cost, id: box.id };
    }
    if (best === null) return;
    this.select(best.id);
    this.canvas.reveal(best.id);
  }
}

function keys() {
  const rows = [
    ["↑ ↓ ← →", "go from box to box"], ["Enter", "open or close a group"], ["/", "search; Enter goes to the next match"],
    ["[ ]", "the stage before, the next one"], ["e c", "open all groups, close them"], ["w", "show what depends on parameters alone"],
    ["+ − 0", "zoom in, zoom out, show all"], ["n p m", "the tabs: node, pass, memory"], ["Esc", "choose nothing"],
  ];
  const close = el("button", { autofocus: true }, "close");
  const dialog = el("dialog", { class: "help" }, el("h2", {}, "Keys"), el("table", {}, rows.map(([key, text]) =>
    el("tr", {}, el("td", {}, key.split(" ").map((part) => [el("kbd", {}, part), " "])), el("td", {}, text)))),
  el("p", { class: "soft small" }, "Drag to move; the wheel moves too, with Ctrl it zooms."), close);
  close.addEventListener("click", () => dialog.close());
  return dialog;
}

const app = new App(page.data("view"));
document.documentElement.dataset.ready = String(app.stages.count);
