// Draws a scene as SVG. Of a large one it draws what is to be seen, and a far one without letters:
// what is missing is added as one moves.

const DRAW_ALL = 600; // boxes: of fewer all are drawn at once
const MARGIN = 250; // CSS pixels around what is to be seen

class Canvas {
  // on: {select(id), toggle(id)}
  constructor(root, map, on) {
    this.root = root;
    this.layers = { frames: svg("g"), edges: svg("g"), labels: svg("g"), boxes: svg("g") };
    const world = svg("g", {}, Object.values(this.layers));
    root.append(arrows(), world);
    this.camera = new Camera(root, world, {
      moved: () => this.moved(),
      click: (target) => {
        if (target.dataset.toggle) on.toggle(target.dataset.toggle);
        else on.select(target.closest("[data-id]")?.dataset.id ?? null);
      },
      toggle: on.toggle,
    });
    this.map = new Minimap(map, this.camera);
    this.selected = null;
  }

  // colours: a colour for a node, or null; marks: {changed(node), found(node), tip(node)}.
  show(scene, colours, marks) {
    [this.scene, this.colours, this.marks] = [scene, colours, marks];
    this.whole = scene.boxes.length <= DRAW_ALL;
    this.shapes = new Map(); // by box: its element, and whether it has letters
    this.lines = new Map(); // by edge: its element
    for (const layer of Object.values(this.layers)) layer.replaceChildren();
    const said = new Set();
    for (const edge of scene.edges) edge.label = this.label(edge, said);
    for (const edge of scene.edges) edge.span = spanOf(edge.points);
    this.mark(null);
  }

  moved() {
    if (!this.scene) return;
    this.drawSeen();
    this.drawMap();
  }

  // Draws what is to be seen and is not there yet.
  drawSeen() {
    const { left, right, top, bottom } = this.camera.seen(MARGIN);
    const near = (x0, y0, x1, y1) => this.whole || (x1 >= left && x0 <= right && y1 >= top && y0 <= bottom);
    const letters = this.whole || this.camera.view.scale >= SCALES.text;
    const fresh = { frames: [], boxes: [], edges: [], labels: [] };
    for (const box of this.scene.boxes) {
      if (!near(box.x, box.y, box.x + box.w, box.y + box.h)) continue;
      const known = this.shapes.get(box);
      if (known && (known.letters || !letters)) continue;
      const element = this.drawBox(box, letters);
      if (known) known.element.replaceWith(element);
      else fresh[box.open ? "frames" : "boxes"].push(element);
      this.shapes.set(box, { element, letters });
      this.markBox(box, element);
    }
    for (const edge of this.scene.edges) {
      const [x0, y0, x1, y1] = edge.span;
      const known = this.lines.get(edge);
      if (!near(x0, y0, x1, y1) || (known && (known.letters || !letters))) continue;
      if (!known) {
        const element = svg("path", { class: edge.across ? "edge across" : "edge", d: curve(edge) });
        this.markEdge(edge, element);
        fresh.edges.push(element);
        this.lines.set(edge, { element, letters });
      }
      if (letters && edge.label) fresh.labels.push(edge.label());
      this.lines.get(edge).letters = letters;
    }
    for (const [layer, elements] of Object.entries(fresh)) this.layers[layer].append(...elements);
  }

  drawBox(box, letters) {
    if (box.heading) return svg("text", { class: "heading", x: box.x, y: box.y + 12 }, box.label);
    const { node } = box;
    const classes = ["box", node.leaf ? "leaf" : box.open ? "open" : "group"];
    if (node.leaf) classes.push(`family-${node.record.family ?? node.record.op}`);
    if (node.leaf && node.record.fixed) classes.push("fixed");
    if (this.marks.changed(node)) classes.push(box.open ? "holds-change" : "change");
    if (this.marks.found(node)) classes.push("found");
    const frame = svg("rect", { width: box.w, height: box.h, rx: node.leaf ? 7 : 9 });
    const colour = box.open ? null : this.colours(node);
    if (colour) frame.style.fill = colour;
    return svg("g", {
      class: classes.join(" "), transform: `translate(${round(box.x)} ${round(box.y)})`, "data-id": node.id,
    }, letters && svg("title", {}, this.marks.tip(node)), frame, letters && boxText(box));
  }

  // The shape of a value stands once, where it leaves the box that makes it.
  label(edge, said) {
    if (edge.across || edge.from === null || this.scene.box.get(edge.from).open) return null;
    const [name] = edge.names;
    if (said.has(name)) return null;
    for (const other of edge.names) said.add(other);
    const more = edge.names.size > 1 ? ` +${edge.names.size - 1}` : "";
    const [[x, y], [, next]] = edge.points;
    return () => svg("text", { class: "shape", x: round(x) + 6, y: round(next < y ? y - 8 : y + 15) },
      shapeOf(this.scene.tree.graph.type(name)) + more);
  }

  // ---- what is chosen ----------------------------------------------------------------------------

  // Marks a box, with the edges at it and the boxes at their ends.
  highlight(id) {
    this.mark(id);
    for (const [box, { element }] of this.shapes) this.markBox(box, element);
    for (const [edge, { element }] of this.lines) this.markEdge(edge, element);
    this.root.setAttribute("aria-label", id === null ? "the graph" : this.marks.tip(this.scene.box.get(id)?.node));
  }

  mark(id) {
    this.selected = id;
    this.near = new Set();
    if (id === null) return;
    for (const edge of this.edgesAt(id)) this.near.add(edge.from).add(edge.to);
  }

  edgesAt(id) {
    return this.scene.edges.filter((edge) => edge.from === id || edge.to === id);
  }

  markBox(box, element) {
    if (box.heading) return;
    element.classList.toggle("selected", box.id === this.selected);
    element.classList.toggle("near", box.id !== this.selected && this.near.has(box.id));
  }

  markEdge(edge, element) {
    const touches = this.selected !== null && (edge.from === this.selected || edge.to === this.selected);
    element.classList.toggle("near", touches);
    element.setAttribute("marker-end", touches ? "url(#arrow-near)" : "url(#arrow)");
  }

  drawMap() {
    this.map.draw(this.scene, (box) => {
      if (box.open) return "--sunken";
      if (box.id === this.selected) return "--accent";
      return this.marks.changed(box.node) ? "--mark" : "--strong-line";
    });
  }

  // Where a box is on the screen; null where it is in no scene.
  onScreen(id) {
    const box = this.scene?.box.get(id);
    return box ? this.camera.onScreen(box) : null;
  }

  // Moves so that a box is where it was; says whether it is there.
  hold(id, where) {
    const now = where && this.onScreen(id);
    if (now) this.camera.move(where[0] - now[0], where[1] - now[1]);
    return Boolean(now);
  }

  reveal(id, centre = false) {
    const box = this.scene.box.get(id);
    if (box) this.camera.reveal(box, centre);
  }

  fit(least = 0) {
    this.camera.fit(this.scene.bounds, least);
  }
}

function boxText(box) {
  const { node } = box;
  if (box.open) {
    return [
      svg("path", { class: "chevron", d: "M12 12 l4 5 l4 -5", "data-toggle": node.id }),
      svg("rect", { class: "handle", width: box.w, height: BOX.header, "data-toggle": node.id }),
      svg("text", { class: "label", x: 28, y: 19 }, fit(node.label, FONTS.label, box.w - 40)),
    ];
  }
  const room = box.w - BOX.pad - (node.leaf ? 8 : 26);
  const left = node.leaf ? BOX.pad : 12;
  return [
    node.leaf
      ? svg("rect", { class: "bar", x: 0.5, y: 8, width: 3.5, height: box.h - 16, rx: 1.75 })
      : svg("path", { class: "chevron", d: `M${box.w - 15} ${box.h / 2 - 5} l5 5 l-5 5`, "data-toggle": node.id }),
    svg("text", { class: "label", x: left, y: 18 }, fit(node.label, FONTS.label, room)),
    svg("text", { class: "sub", x: left, y: 33 }, fit(subtitle(node), FONTS.sub, room)),
    !node.leaf && svg("rect", { class: "handle", x: box.w - 26, width: 26, height: box.h, "data-toggle": node.id }),
  ];
}

function arrows() {
  const head = (id) => svg("marker", {
    id, viewBox: "0 0 8 8", refX: 7, refY: 4, markerWidth: 6, markerHeight: 6, orient: "auto",
  }, svg("path", { d: "M0.5 1 L7.5 4 L0.5 7 z" }));
  return svg("defs", {}, head("arrow"), head("arrow-near"));
}

function spanOf(points) {
  let [x0, y0, x1, y1] = [Infinity, Infinity, -Infinity, -Infinity];
  for (const [x, y] of points) {
    [x0, y0, x1, y1] = [Math.min(x0, x), Math.min(y0, y), Math.max(x1, x), Math.max(y1, y)];
  }
  return [x0, y0, x1, y1];
}

// A smooth line through points: it leaves and enters boxes upright, and goes from lane to lane level.
function curve({ points, across }) {
  const parts = [`M${round(points[0][0])} ${round(points[0][1])}`];
  for (let i = 1; i < points.length; i++) {
    const [[x0, y0], [x1, y1]] = [points[i - 1], points[i]];
    const [x, y] = [round(x1), round(y1)];
    if (across) {
      const middle = round((x0 + x1) / 2);
      parts.push(`C${middle} ${round(y0)} ${middle} ${y} ${x} ${y}`);
    } else if (Math.abs(x0 - x1) < 0.5 || Math.abs(y0 - y1) < 0.5) parts.push(`L${x} ${y}`);
    else {
      const middle = round((y0 + y1) / 2);
      parts.push(`C${round(x0)} ${middle} ${x} ${middle} ${x} ${y}`);
    }
  }
  return parts.join("");
}

const round = (number) => Math.round(number * 10) / 10;

// "f32[N,64,56,56]{0,2,3,1}" -> "N×64×56×56"
function shapeOf(type) {
  const found = /^(\w+)\[([^\]]*)\]/.exec(type);
  if (!found) return type.split("{")[0];
  return found[2] ? found[2].split(",").join("×") : "scalar";
}
