// Grids of numbers: the element that is chosen of a result, what it has read, and its formula.

// The place in row-major order of an index, and the index of a place.
const placeOf = (index, shape) => index.reduce((place, at, axis) => place * shape[axis] + at, 0);

function indexOf(place, shape) {
  const index = Array(shape.length);
  for (let axis = shape.length - 1; axis >= 0; axis -= 1) {
    index[axis] = place % shape[axis];
    place = Math.floor(place / shape[axis]);
  }
  return index;
}

// The rows and columns of a slice, and how many elements it has: the last two dimensions.
function plane(shape) {
  const columns = shape.at(-1) ?? 1;
  const rows = shape.length > 1 ? shape.at(-2) : 1;
  return { rows, columns, count: rows * columns };
}

const bracket = (index) => `[${index.join(",")}]`;

// A slice with the indices of the dimensions before its own; large ones scroll.
const figure = (lead, table) =>
  el("figure", {},
    el("figcaption", {}, lead.length ? bracket([...lead, "…"]) : "\u00a0"),
    el("div", { class: "scroller" }, table));

// Scroll a grid, and nothing else, until these cells are to be seen, the last one above all.
function reveal(...cells) {
  for (const cell of cells) {
    const scroller = cell.closest(".scroller");
    const [inner, outer] = [cell.getBoundingClientRect(), scroller.getBoundingClientRect()];
    scroller.scrollTop += Math.max(0, inner.bottom - outer.bottom) + Math.min(0, inner.top - outer.top);
    scroller.scrollLeft += Math.max(0, inner.right - outer.right) + Math.min(0, inner.left - outer.left);
  }
}

class Explain {
  constructor(nodes, start) {
    this.nodes = nodes;
    this.nav = el("nav", { "aria-label": "computed values" });
    this.main = el("main");
    this.keys = el(
      "span",
      { class: "keys" },
      el("kbd", {}, "arrows"), " choose an element, ",
      el("kbd", {}, "PgUp"), " ", el("kbd", {}, "PgDn"), " another slice, ",
      el("kbd", {}, "["), " ", el("kbd", {}, "]"), " another node",
    );
    document.body.append(
      el("div", { class: "explain" },
        el("header", {}, el("h1", {}, start.title), this.keys), this.nav, this.main),
    );
    this.buttons = nodes.map((node, place) =>
      el("button", { type: "button", on: { click: () => this.open(place) } },
        node.name, el("small", {}, `${node.op} ${node.type}`)));
    this.nav.append(...this.buttons);
    document.addEventListener("keydown", (event) => this.onKey(event));
    const place = nodes.findIndex((node) => `#${encodeURIComponent(node.name)}` === location.hash);
    if (nodes.length) this.open(place < 0 ? start.first : place);
  }

  // ---- nodes ----------------------------------------------------------------------------------

  open(place, focus = false) {
    this.place = place;
    this.node = this.nodes[place];
    this.chosen = 0;
    this.buttons.forEach((button, other) =>
      button.setAttribute("aria-current", String(other === place)));
    this.buttons[place].scrollIntoView({ block: "nearest" });
    const { node } = this;
    const about = [
      node.name, "=", `${node.op}(${node.operands.join(", ")})`,
      ...node.attributes.map(([name, value]) => `${name}=${value}`),
      node.line ? `at ${node.line}` : "",
    ].filter(Boolean).join("  ");
    this.output = el("div", { class: "array output" });
    this.inputs = el("div", { class: "arrays" });
    this.board = el("section", { class: "board", "aria-live": "polite" });
    this.main.replaceChildren(
      el("p", { class: "about" }, about),
      el("div", { class: "arrays" }, this.inputs, this.output),
      this.board,
    );
    this.choose(0, focus);
  }

  onKey(event) {
    if (event.ctrlKey || event.metaKey || event.altKey || !this.node) return;
    const step = { "[": -1, "]": 1 }[event.key];
    if (step) {
      const place = this.place + step;
      if (place >= 0 && place < this.nodes.length) this.open(place, true);
      event.preventDefault();
      return;
    }
    if (!this.output.contains(event.target)) return;
    const { rows, columns, count } = plane(this.node.shape);
    const total = this.node.texts.length;
    const first = this.chosen - (this.chosen % count);
    const [row, column] = [Math.floor((this.chosen - first) / columns), this.chosen % columns];
    const moves = {
      ArrowRight: column + 1 < columns ? this.chosen + 1 : null,
      ArrowLeft: column > 0 ? this.chosen - 1 : null,
      ArrowDown: row + 1 < rows ? this.chosen + columns : null,
      ArrowUp: row > 0 ? this.chosen - columns : null,
      Home: first,
      End: first + count - 1,
      PageDown: this.chosen + count < total ? this.chosen + count : null,
      PageUp: this.chosen >= count ? this.chosen - count : null,
    };
    if (!(event.key in moves)) return;
    event.preventDefault();
    if (moves[event.key] !== null) this.choose(moves[event.key], true);
  }

  // ---- elements -------------------------------------------------------------------------------

  choose(place, focus = false) {
    this.chosen = place;
    this.element = this.node.elements[place];
    this.showOutput(focus);
    this.showInputs();
    this.showBoard();
  }

  showOutput(focus) {
    const { shape, texts, result } = this.node;
    const { rows, columns, count } = plane(shape);
    const first = this.chosen - (this.chosen % count);
    const table = el("table", { class: "grid", role: "grid", "aria-label": this.node.name });
    for (let row = 0; row < rows; row += 1) {
      const line = el("tr", { role: "row" });
      for (let column = 0; column < columns; column += 1) {
        const place = first + row * columns + column;
        const mine = place === this.chosen;
        const cell = el("td", {
          role: "gridcell",
          tabindex: mine ? 0 : -1,
          "aria-selected": String(mine),
          title: `${result}${bracket(indexOf(place, shape))}`,
          on: { click: () => this.choose(place, true) },
        }, texts[place]);
        if (mine) this.cell = cell;
        line.append(cell);
      }
      table.append(line);
    }
    const lead = indexOf(this.chosen, shape).slice(0, Math.max(shape.length - 2, 0));
    const slices = texts.length / count;
    const turn = (by) => this.choose(this.chosen + by * count, true);
    this.output.replaceChildren(
      el("h3", {}, el("b", {}, result), ` ${bracket(shape)}`),
      figure(lead, table),
      slices > 1 && el("div", { class: "pager" },
        el("button", {
          type: "button", "aria-label": "slice before", disabled: this.chosen < count,
          on: { click: () => turn(-1) },
        }, "‹"),
        `slice ${Math.floor(this.chosen / count) + 1} of ${slices}`,
        el("button", {
          type: "button", "aria-label": "slice behind",
          disabled: this.chosen + count >= texts.length, on: { click: () => turn(1) },
        }, "›")) || "",
    );
    reveal(this.cell);
    if (focus) this.cell.focus({ preventScroll: true });
  }

  showInputs() {
    this.cells = new Map(); // by "source place", the cell on the page
    const reads = this.node.sources.map(() => new Map());
    for (const [term, [places, , , chosen]] of this.element.terms.entries()) {
      for (let k = 0; k < places.length; k += 2) {
        const known = reads[places[k]].get(places[k + 1]) ?? { terms: [], chosen: 0 };
        known.terms.push(term);
        known.chosen ||= chosen;
        reads[places[k]].set(places[k + 1], known);
      }
    }
    this.inputs.replaceChildren(
      ...this.node.sources.map((source, number) => this.source(source, number, reads[number])));
    for (const table of this.inputs.querySelectorAll(".grid")) {
      const read = table.querySelectorAll(".read");
      if (read.length) reveal(read[read.length - 1], read[0]);
    }
  }

  // An operand: the slices of it that are read, each with its padding.
  source(source, number, reads) {
    const { rows, columns, count } = plane(source.shape);
    const slices = [...new Set([...reads.keys()].map((place) => Math.floor(place / count)))];
    const figures = slices.sort((a, b) => a - b).map((slice) => {
      const table = el("table", { class: "grid" });
      for (let row = 0; row < rows; row += 1) {
        const line = el("tr");
        for (let column = 0; column < columns; column += 1) {
          line.append(this.input(source, number, slice * count + row * columns + column, reads));
        }
        table.append(line);
      }
      const lead = indexOf(slice * count, source.shape)
        .map((at, axis) => at + source.low[axis])
        .slice(0, Math.max(source.shape.length - 2, 0));
      return figure(lead, table);
    });
    return el("div", { class: "array" },
      el("h3", {}, el("b", {}, source.name), ` ${source.called} ${bracket(source.size)}`),
      el("div", { class: "slices" }, figures));
  }

  input(source, number, place, reads) {
    const index = indexOf(place, source.shape).map((at, axis) => at + source.low[axis]);
    const inside = index.every((at, axis) => at >= 0 && at < source.size[axis]);
    const read = reads.get(place);
    const names = [inside ? "" : "padding", read ? "read" : "", read?.chosen ? "chosen" : ""];
    const cell = el("td", {
      class: names.filter(Boolean).join(" ") || null,
      title: inside ? `${source.name}${bracket(index)}` : "padding",
      on: read
        ? { mouseenter: () => this.touch(read.terms), mouseleave: () => this.touch([]) }
        : {},
    }, inside ? source.texts[placeOf(index, source.size)] : source.padding);
    this.cells.set(`${number} ${place}`, cell);
    return cell;
  }

  showBoard() {
    this.chips = this.element.terms.map(([, text, value, chosen], term) =>
      el("button", {
        type: "button",
        class: chosen ? "chosen" : null,
        on: {
          mouseenter: () => this.touch([term]),
          mouseleave: () => this.touch([]),
          focus: () => this.touch([term]),
          blur: () => this.touch([]),
        },
      }, text, value && el("span", { class: "soft" }, ` → ${value}`)));
    this.board.replaceChildren(
      el("p", { class: "formula" }, this.node.formula),
      el("div", { class: "terms" }, this.chips),
      el("ol", { class: "steps" }, this.element.steps.map((step) => el("li", {}, step))),
    );
  }

  // Terms, and the elements that they are made of, stand out.
  touch(terms) {
    const hot = new Set(terms);
    this.chips.forEach((chip, term) => chip.classList.toggle("hot", hot.has(term)));
    for (const cell of this.cells.values()) cell.classList.remove("hot");
    for (const term of hot) {
      const [places] = this.element.terms[term];
      for (let k = 0; k < places.length; k += 2) {
        this.cells.get(`${places[k]} ${places[k + 1]}`)?.classList.add("hot");
      }
    }
  }
}

page.unpack("nodes").then((nodes) => {
  new Explain(nodes, page.data("start"));
  document.documentElement.dataset.ready = "";
});
