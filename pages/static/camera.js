// Where one looks from: moves and zooms the drawing, by pointer, wheel and calls.

const SCALES = { least: 0.05, most: 3, text: 0.36, detail: 0.52 };

class Camera {
  // on: {moved(), click(target), toggle(id)}
  constructor(root, world, on) {
    this.root = root;
    this.world = world;
    this.on = on;
    this.view = { x: 0, y: 0, scale: 1 };
    const { width, height } = root.getBoundingClientRect();
    this.room = { width, height };
    // The size is kept: to ask for it after a change makes the browser lay out everything at once.
    new ResizeObserver(([{ contentRect }]) => {
      this.room = { width: contentRect.width, height: contentRect.height };
      this.apply();
    }).observe(root);
    this.pointer();
    this.wheel();
  }

  apply() {
    const { x, y, scale } = this.view;
    this.world.setAttribute("transform", `translate(${x} ${y}) scale(${scale})`);
    this.root.classList.toggle("far", scale < SCALES.text);
    this.root.classList.toggle("coarse", scale < SCALES.detail);
    this.on.moved();
  }

  // What of the drawing is to be seen, with a margin in CSS pixels.
  seen(margin = 0) {
    const { x, y, scale } = this.view;
    const { width, height } = this.room;
    return {
      left: (-x - margin) / scale, right: (width - x + margin) / scale,
      top: (-y - margin) / scale, bottom: (height - y + margin) / scale,
    };
  }

  // Shows all of some bounds; where they are much taller than the room, their width from the top on.
  fit({ x, y, w, h }, least = 0) {
    const { width, height } = this.room;
    const across = (width - 48) / w;
    const scale = Math.max(Math.min(across, (height - 72) / h, 1.15), Math.min(least, across), SCALES.least);
    this.view = {
      scale,
      x: (width - w * scale) / 2 - x * scale,
      y: (h * scale < height - 72 ? (height - h * scale) / 2 : 28) - y * scale,
    };
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

  // Puts a place of the drawing into the middle.
  centre(x, y) {
    const { width, height } = this.room;
    const { scale } = this.view;
    this.view = { scale, x: width / 2 - x * scale, y: height / 2 - y * scale };
    this.apply();
  }

  onScreen(box) {
    return [box.x * this.view.scale + this.view.x, box.y * this.view.scale + this.view.y];
  }

  // Moves, no more than is needed, so that a box is to be seen; "centre" puts it into the middle.
  reveal(box, centre = false) {
    if (centre) {
      if (this.view.scale < SCALES.detail) this.view = { ...this.view, scale: 0.9 };
      this.centre(box.x + box.w / 2, box.y + Math.min(box.h / 2, this.room.height / 2 / this.view.scale));
      return;
    }
    const { width, height } = this.room;
    const [x, y] = this.onScreen(box);
    const [w, h] = [Math.min(box.w * this.view.scale, width - 80), Math.min(box.h * this.view.scale, height - 80)];
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
    this.root.addEventListener("pointerup", () => {
      if (held && !held.moved) this.on.click(held.target);
      end();
    });
    this.root.addEventListener("dblclick", (event) => {
      const id = event.target.closest("[data-id]")?.dataset.id;
      if (id && !event.target.dataset.toggle) this.on.toggle(id);
    });
  }

  // The wheel moves, as it does elsewhere; with Ctrl, as a pinch gives it, it zooms.
  wheel() {
    this.root.addEventListener("wheel", (event) => {
      event.preventDefault();
      const { left, top } = this.root.getBoundingClientRect();
      if (event.ctrlKey || event.metaKey) {
        this.zoom(Math.exp(-event.deltaY * 0.0035), [event.clientX - left, event.clientY - top]);
      } else if (event.shiftKey) this.move(-event.deltaY, 0);
      else this.move(-event.deltaX, -event.deltaY);
    }, { passive: false });
  }
}

// All of the drawing, small: a press or a drag on it goes there.
class Minimap {
  constructor(canvas, camera) {
    this.canvas = canvas;
    this.camera = camera;
    this.waits = false;
    const travel = (event) => {
      if (event.buttons !== 1 || !this.scale) return;
      const { left, top } = canvas.getBoundingClientRect();
      const { by, x, y } = this.scale;
      camera.centre((event.clientX - left - x) / by + this.bounds.x, (event.clientY - top - y) / by + this.bounds.y);
    };
    canvas.addEventListener("pointerdown", travel);
    canvas.addEventListener("pointermove", travel);
  }

  // Draws with the next frame, once for all that has changed until then. colour: of a box, by name.
  draw(scene, colour) {
    [this.scene, this.bounds, this.colour] = [scene, scene.bounds, colour];
    if (this.waits) return;
    this.waits = true;
    requestAnimationFrame(() => {
      this.waits = false;
      this.drawNow();
    });
  }

  drawNow() {
    const { clientWidth: width, clientHeight: height } = this.canvas;
    if (!width) return;
    const ratio = window.devicePixelRatio || 1;
    this.canvas.width = width * ratio;
    this.canvas.height = height * ratio;
    const pen = this.canvas.getContext("2d");
    const style = getComputedStyle(this.canvas);
    const tones = new Map();
    const tone = (name) => {
      if (!tones.has(name)) tones.set(name, style.getPropertyValue(name));
      return tones.get(name);
    };
    const { x, y, w, h } = this.bounds;
    const by = Math.min((width - 8) / w, (height - 8) / h);
    this.scale = { by, x: (width - w * by) / 2, y: (height - h * by) / 2 };
    pen.setTransform(ratio * by, 0, 0, ratio * by, ratio * (this.scale.x - x * by), ratio * (this.scale.y - y * by));
    for (const box of this.scene.boxes) {
      if (box.heading) continue;
      pen.fillStyle = tone(this.colour(box));
      pen.fillRect(box.x, box.y, box.w, box.h);
    }
    pen.setTransform(ratio, 0, 0, ratio, 0, 0);
    pen.strokeStyle = tone("--accent");
    pen.lineWidth = 1.5;
    const seen = this.camera.seen();
    const at = (value, side, most) => Math.max(1.5, Math.min(most - 1.5, this.scale[side] + (value - this.bounds[side]) * by));
    const [x0, x1] = [at(seen.left, "x", width), at(seen.right, "x", width)];
    const [y0, y1] = [at(seen.top, "y", height), at(seen.bottom, "y", height)];
    pen.strokeRect(x0, y0, x1 - x0, y1 - y0);
  }
}
