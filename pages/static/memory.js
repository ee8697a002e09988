// The memory plan as a picture: the arena from bottom to top, the launches from left to right. Each
// box is a buffer, as large as it is and as long as it lives.

class Memory {
  // on: select(name of a value)
  constructor(plans, on) {
    this.plans = plans;
    this.on = on;
    this.root = el("div", { class: "panel-body memory", role: "tabpanel" });
    if (plans.length) this.root.append(...plans.map((plan) => this.picture(plan)));
    else this.root.append(el("p", { class: "soft" }, "There is no plan of memory to show: it is known of native code whose sizes are all given."));
  }

  picture(plan) {
    const [width, height, left, bottom] = [340, 240, 54, 20];
    const count = Math.max(1, plan.launches.length);
    const x = (launch) => left + (launch / count) * (width - left - 4);
    const y = (byte) => 6 + (1 - byte / Math.max(1, plan.bytes)) * (height - bottom - 6);
    const note = el("p", { class: "note soft", "aria-live": "polite" }, "Point at a buffer, or use the arrow keys.");
    const boxes = plan.buffers.map((buffer) => svg("rect", {
      class: `buffer ${buffer.scratch ? "scratch" : `family-${buffer.family}`}`,
      x: x(buffer.first), y: y(buffer.at + buffer.bytes),
      width: Math.max(1, x(buffer.last + 1) - x(buffer.first)),
      height: Math.max(1, y(buffer.at) - y(buffer.at + buffer.bytes)),
    }, svg("title", {}, this.tell(plan, buffer))));
    const ticks = [0, 0.25, 0.5, 0.75, 1].map((part) => svg("g", { class: "tick" },
      svg("line", { x1: left - 4, x2: width - 4, y1: y(part * plan.bytes), y2: y(part * plan.bytes) }),
      svg("text", { x: left - 8, y: y(part * plan.bytes) + 4 }, short(Math.round(part * plan.bytes), "B"))));
    const live = this.live(plan);
    const line = svg("path", { class: "live", d: live.map((bytes, launch) =>
      `${launch ? "L" : "M"}${x(launch)} ${y(bytes)}L${x(launch + 1)} ${y(bytes)}`).join("") });
    const drawing = svg("svg", {
      class: "arena", viewBox: `0 0 ${width} ${height}`, tabindex: 0, role: "img",
      "aria-label": `the arena of ${plan.entry}: ${plan.buffers.length} buffers in ${plan.bytes} bytes`,
    }, ticks, boxes, line, svg("text", { class: "axis", x: (left + width) / 2, y: height - 3 }, `${count} launches`));
    let chosen = -1;
    const choose = (at) => {
      boxes[chosen]?.classList.remove("selected");
      chosen = at;
      boxes[at].classList.add("selected");
      note.replaceChildren(...this.said(plan, plan.buffers[at]));
    };
    boxes.forEach((box, at) => {
      box.addEventListener("pointerenter", () => choose(at));
      box.addEventListener("click", () => this.go(plan.buffers[at]));
    });
    drawing.addEventListener("keydown", (event) => {
      const step = { ArrowRight: 1, ArrowDown: 1, ArrowLeft: -1, ArrowUp: -1 }[event.key];
      if (step && boxes.length) choose((chosen + step + boxes.length) % boxes.length);
      else if (event.key === "Enter" && chosen >= 0) this.go(plan.buffers[chosen]);
      else return;
      event.preventDefault();
      event.stopPropagation();
    });
    const most = Math.max(0, ...live);
    return el("section", {}, el("h3", {}, `${plan.entry}: an arena of ${short(plan.bytes, "B")}${plan.micro_batches.length ? `, for ${plan.micro_batches.join(", then ")} of the batch at a time` : ""}`),
      el("p", { class: "small soft" }, `${plan.buffers.length} buffers that would take ${short(plan.buffers.reduce((sum, buffer) => sum + buffer.bytes, 0), "B")} apart; ${short(most, "B")} are in use at the most (the line).`),
      drawing, note);
  }

  // Bytes in use during each launch.
  live(plan) {
    const change = new Array(plan.launches.length + 1).fill(0);
    for (const { first, last, bytes } of plan.buffers) {
      change[first] += bytes;
      if (last + 1 < change.length) change[last + 1] -= bytes;
    }
    let sum = 0;
    return change.slice(0, -1).map((step) => (sum += step));
  }

  tell(plan, { names, bytes, at, first, last, scratch }) {
    const [from] = plan.launches[first] ?? ["?"];
    const [to] = plan.launches[last] ?? ["?"];
    return `${scratch ? "scratch of " : ""}${names.join(", ")}: ${short(bytes, "B")} at ${at}, launches ${first} to ${last} (${from} to ${to})`;
  }

  said(plan, buffer) {
    const [name] = buffer.names;
    return [el("button", { class: "link", on: { click: () => this.go(buffer) } }, name ?? "scratch"),
      el("span", {}, ` ${this.tell(plan, buffer)}`)];
  }

  go(buffer) {
    if (buffer.names.length) this.on(buffer.names[0]);
  }
}
