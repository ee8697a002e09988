// Draws a scene as SVG, moves and zooms it, and shows all of it in a small map.

const SCALES = { least: 0.05, most: 3, text: 0.36, detail: 0.52 };

class Canvas {
  // on: {select(id), toggle(id), hover(id)}
  constructor(root, map, on) {
    this.on = on;
    this.root = root;
    this.map = map;
    this.world = svg("g", {});
    this.root.append(arrows(), this.world);
    this.view = { x: 0, y: 0, scale: 1 };
    this.pointer();
  }

  show(scene, colours, marks) {
    this.scene = scene;
    this.colours = colours;
    this.marks = marks;
    this.shapes = new Map();
    this.lines = [];
    const boxes = [];
    const labels = [];
    const said = new Set();
    for (const edge of scene.edges) {
      const path = svg("path", { class: edge.across ? "edge across" : "edge", d: curve(edge), "marker-end": "url(#arrow)" });
      this.lines.push({ edge, path });
      const label = this.edgeLabel(edge, said);
      if (label) labels.push(label);
    }
    for (const box of scene.boxes) boxes.push(this.drawBox(box));
    const frames = boxes.filter((_, at) => scene.boxes[at].open);
    const solid = boxes.filter((_, at) => !scene.boxes[at].open);
    this.world.replaceChildren(
      ...frames, ...this.lines.map(({ path }) => path), ...labels, ...solid);
    this.highlight(null);
    this.drawMap();
  }

  drawBox(box) {
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
    const shape = svg("g", {
      class: classes.join(" "), transform: `translate(${box.x} ${box.y})`, "data-id": node.id,
    }, svg("title", {}, this.marks.tip(node)), frame, this.boxText(box));
    this.shapes.set(node.id, shape);
    return shape;
  }

  boxText(box) {
    const { node } = box;
    const room = box.w - BOX.pad - (node.leaf ? 8 : 26);
    if (box.open) {
      return [
        svg("path", { class: "chevron", d: "M12 12 l4 5 l4 -5", "data-toggle": node.id }),
        svg("rect", { class: "handle", width: box.w, height: BOX.header, "data-toggle": node.id }),
        svg("text", { class: "label", x: 28, y: 19 }, fit(node.label, FONTS.label, box.w - 40)),
      ];
    }
    const bar = node.leaf ? svg("rect", { class: "bar", x: 0.5, y: 8, width: 3.5, height: box.h - 16, rx: 1.75 })
      : svg("path", { class: "chevron", d: `M${box.w - 15} ${box.h / 2 - 5} l5 5 l-5 5`, "data-toggle": node.id });
    const handle = node.leaf ? null
      : svg("rect", { class: "handle", x: box.w - 26, width: 26, height: box.h, "data-toggle": node.id });
    const left = node.leaf ? BOX.pad : 12;
    return [
      bar,
      svg("text", { class: "label", x: left, y: 18 }, fit(node.label, FONTS.label, room)),
      svg("text", { class: "sub", x: left, y: 33 }, fit(subtitle(node), FONTS.sub, room)),
      handle,
    ];
  }

  // The shape of a value stands once, where it leaves the box that makes it.
  edgeLabel(edge, said) {
    if (edge.across || edge.from === null || this.scene.box.get(edge.from).open) return null;
    const [name] = edge.names;
    if (said.has(name)) return null;
    for (const other of edge.names) said.add(other);
    const more = edge.names.size > 1 ? ` +${edge.names.size - 1}` : "";
    const [x, y] = edge.points[0];
    const upward = edge.points[1][1] < y;
    return svg("text", { class: "shape", x: x + 6, y: upward ? y - 8 : y + 15 },
      shapeOf(this.scene.tree.graph.type(name)) + more);
  }

  // What is selected, with the edges at it.
  highlight(id) {
    this.selected = id;
    const near = new Set([id]);
    for (const { edge, path } of this.lines) {
      const touches = id !== null && (edge.from === id || edge.to === id);
      path.classList.toggle("near", touches);
      path.setAttribute("marker-end", touches ? "url(#arrow-near)" : "url(#arrow)");
      if (touches) near.add(edge.from).add(edge.to);
    }
    for (const [other, shape] of this.shapes) {
      shape.classList.toggle("selected", other === id);
      shape.classList.toggle("near", other !== id && near.has(other));
    }
    this.root.setAttribute("aria-label", id === null ? "the graph" : this.marks.tip(this.scene.box.get(id)?.node));
  }

  // ---- moving ----------------------------------------------------------------------------------

  apply() {
    const { x, y, scale } = this.view;
    this.world.setAttribute("transform", `translate(${x} ${y}) scale(${scale})`);
    this.root.classList.toggle("far", scale < SCALES.text);
    this.root.classList.toggle("coarse", scale < SCALES.detail);
    this.drawMap();
  }

  get room() {
    const { width, height } = this.root.getBoundingClientRect();
    return { width, height };
  }

  // All of it, or, where it is much taller than the room, its width from the top on.
  fit(least = 0) {
    const { width, height } = this.room;
    const { x, y, w, h } = this.scene.bounds;
    const whole = Math.min((width - 48) / w, (height - 72) / h, 1.15);
    const scale = Math.max(whole, Math.min(least, (width - 48) / w), SCALES.least);
    this.view = { scale, x: (width - w * scale) / 2 - x * scale, y: (h * scale < height - 72 ? (height - h * scale) / 2 : 28) - y * scale };
    this.apply();
  }

  zoom(factor, at = [this.room.width / 2, this.room.height / 2]) {
    const scale = Math.min(SCALES.most, Math.max(SCALES.least, this.view.scale * factor));
    const ratio = scale / this.view.scale;
    this.view = { scale, x: at[0] - (at[0] - this.view.x) * ratio, y: at[1] - (at[1] - this.view.y) * ratio };
    this.apply();
  }

  move(dx, dy) {
    this.view = { ...this.view, x: this.view.x + dx, y: this.view.y + dy };
    this.apply();
  }

  // Where a box is on the screen; null where it is in no scene.
  onScreen(id) {
    const box = this.scene?.box.get(id);
    return box ? [box.x * this.view.scale + this.view.x, box.y * this.view.scale + this.view.y] : null;
  }

  // Moves so that a box is where it was.
  hold(id, where) {
    const now = where && this.onScreen(id);
    if (now) this.move(where[0] - now[0], where[1] - now[1]);
    return Boolean(now);
  }

  // Moves, no more than is needed, so that a box is to be seen.
  reveal(id, centre = false) {
    const box = this.scene.box.get(id);
    if (!box) return;
    if (this.view.scale < SCALES.detail && centre) this.zoom(0.9 / this.view.scale);
    const { width, height } = this.room;
    const [x, y] = this.onScreen(id);
    const [w, h] = [Math.min(box.w * this.view.scale, width - 80), Math.min(box.h * this.view.scale, height - 80)];
    if (centre) {
      this.move(width / 2 - x - w / 2, Math.min(height / 2 - y - h / 2, height));
      return;
    }
    const dx = Math.max(40 - x, 0) || Math.min(width - 40 - x - w, 0);
    const dy = Math.max(40 - y, 0) || Math.min(height - 40 - y - h, 0);
    if (dx || dy) this.move(dx, dy);
  }

  pointer() {
    let held = null;
    this.root.addEventListener("pointerdown", (event) => {
      if (event.button !== 0) return;
      held = { x: event.clientX, y: event.clientY, moved: false, target: event.target };
    });
    this.root.addEventListener("pointermove", (event) => {
      if (!held) return;
      const [dx, dy] = [event.clientX - held.x, event.clientY - held.y];
      if (!held.moved && Math.hypot(dx, dy) < 4) return;
      if (!held.moved) this.root.setPointerCapture(event.pointerId);
      Object.assign(held, { x: event.clientX, y: event.clientY, moved: true });
      this.root.classList.add("moving");
      this.move(dx, dy);
    });
    const end = () => {
      held = null;
      this.root.classList.remove("moving");
    };
    this.root.addEventListener("pointercancel", end);
    this.root.addEventListener("pointerup", (event) => {
      if (held && !held.moved) this.click(held.target, event);
      end();
    });
    this.root.addEventListener("dblclick", (event) => {
      const id = event.target.closest("[data-id]")?.dataset.id;
      if (id && !event.target.dataset.toggle) this.on.toggle(id);
    });
    this.root.addEventListener("wheel", (event) => {
      event.preventDefault();
      const { left, top } = this.root.getBoundingClientRect();
      if (event.ctrlKey || event.metaKey) {
        this.zoom(Math.exp(-event.deltaY * 0.0035), [event.clientX - left, event.clientY - top]);
      } else if (event.shiftKey) this.move(-event.deltaY, 0);
      else this.move(-event.deltaX, -event.deltaY);
    }, { passive: false });
    const travel = (event) => {
      if (event.buttons !== 1 || !this.scale) return;
      const { left, top } = this.map.getBoundingClientRect();
      const { x, y } = this.scene.bounds;
      const [px, py] = [event.clientX - left, event.clientY - top];
      const { width, height } = this.room;
      this.view.x = width / 2 - ((px - this.scale.x) / this.scale.by + x) * this.view.scale;
      this.view.y = height / 2 - ((py - this.scale.y) / this.scale.by + y) * this.view.scale;
      this.apply();
    };
    this.map.addEventListener("pointerdown", travel);
    this.map.addEventListener("pointermove", travel);
  }

  click(target) {
    if (target.dataset.toggle) this.on.toggle(target.dataset.toggle);
    else this.on.select(target.closest("[data-id]")?.dataset.id ?? null);
  }

  // ---- the map ---------------------------------------------------------------------------------

  drawMap() {
    if (!this.scene) return;
    const { width, height } = this.map.getBoundingClientRect();
    if (!width) return;
    const ratio = window.devicePixelRatio || 1;
    this.map.width = width * ratio;
    this.map.height = height * ratio;
    const pen = this.map.getContext("2d");
    const style = getComputedStyle(this.root);
    const colour = (name) => style.getPropertyValue(name);
    const { x, y, w, h } = this.scene.bounds;
    const by = Math.min((width - 8) / w, (height - 8) / h);
    this.scale = { by, x: (width - w * by) / 2, y: (height - h * by) / 2 };
    pen.setTransform(ratio * by, 0, 0, ratio * by, ratio * (this.scale.x - x * by), ratio * (this.scale.y - y * by));
    for (const box of this.scene.boxes) {
      if (box.heading) continue;
      pen.fillStyle = box.open ? colour("--sunken") : box.id === this.selected ? colour("--accent") : colour("--strong-line");
      if (this.marks.changed(box.node) && !box.open) pen.fillStyle = colour("--mark");
      pen.fillRect(box.x, box.y, box.w, box.h);
    }
    pen.setTransform(ratio, 0, 0, ratio, 0, 0);
    pen.strokeStyle = colour("--accent");
    pen.lineWidth = 1.5;
    const room = this.room;
    const within = (value, most) => Math.max(1.5, Math.min(most - 1.5, value));
    const edge = (side, at) =>
      this.scale[side] + ((at - this.view[side]) / this.view.scale - this.scene.bounds[side]) * by;
    const [x0, x1] = [within(edge("x", 0), width), within(edge("x", room.width), width)];
    const [y0, y1] = [within(edge("y", 0), height), within(edge("y", room.height), height)];
    pen.strokeRect(x0, y0, x1 - x0, y1 - y0);
  }
}

function arrows() {
  const head = (id) => svg("marker", {
    id, viewBox: "0 0 8 8", refX: 7, refY: 4, markerWidth: 6, markerHeight: 6, orient: "auto",
  }, svg("path", { d: "M0.5 1 L7.5 4 L0.5 7 z" }));
  return svg("defs", {}, head("arrow"), head("arrow-near"));
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
