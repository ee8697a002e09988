// What all pages share: elements made of text alone, data blocks, and numbers as people read them.

const SVG = "http://www.w3.org/2000/svg";

// An element. Children are elements or text; nothing is ever read as HTML. Of the attributes, "on"
// holds listeners by event, and what is null, undefined or false is left out.
function fill(node, attributes, children) {
  for (const [name, value] of Object.entries(attributes ?? {})) {
    if (name === "on") {
      for (const [event, listener] of Object.entries(value)) node.addEventListener(event, listener);
    } else if (value !== null && value !== undefined && value !== false) {
      node.setAttribute(name, value === true ? "" : String(value));
    }
  }
  for (const child of children.flat(Infinity)) {
    if (child === null || child === undefined || child === false) continue;
    node.append(child instanceof Node ? child : document.createTextNode(String(child)));
  }
  return node;
}

const el = (tag, attributes, ...children) =>
  fill(document.createElement(tag), attributes, children);
const svg = (tag, attributes, ...children) =>
  fill(document.createElementNS(SVG, tag), attributes, children);

const page = {
  // A block of data that the page was made with.
  data(name) {
    return JSON.parse(document.getElementById(`data-${name}`).textContent);
  },

  has(name) {
    return document.getElementById(`data-${name}`) !== null;
  },

  // A large block, deflated: unpacked once, when it is first asked for.
  unpack(name) {
    page.unpacked ??= new Map();
    if (!page.unpacked.has(name)) {
      const text = atob(document.getElementById(`data-${name}`).textContent);
      const bytes = Uint8Array.from(text, (letter) => letter.charCodeAt(0));
      const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("deflate-raw"));
      page.unpacked.set(name, new Response(stream).json());
    }
    return page.unpacked.get(name);
  },
};

// 1234567 -> "1.23 M": three digits and a prefix, as the units of a thousand.
function short(number, unit = "") {
  if (number === null || number === undefined) return "–";
  const prefixes = [[1e12, "T"], [1e9, "G"], [1e6, "M"], [1e3, "k"]];
  const [scale, prefix] = prefixes.find(([least]) => Math.abs(number) >= least) ?? [1, ""];
  const value = number / scale;
  const text = Number.isInteger(value) ? String(value) : value.toPrecision(3);
  return `${text}${prefix || unit ? "\u202f" : ""}${prefix}${unit}`;
}

// Seconds as people read them.
function duration(seconds) {
  if (seconds === null || seconds === undefined) return "–";
  if (seconds >= 1) return `${seconds.toPrecision(3)}\u202fs`;
  if (seconds >= 1e-3) return `${(seconds * 1e3).toPrecision(3)}\u202fms`;
  return `${(seconds * 1e6).toPrecision(3)}\u202fµs`;
}

const percent = (share) => (share === null ? "–" : `${(100 * share).toFixed(share < 0.1 ? 1 : 0)}\u202f%`);
