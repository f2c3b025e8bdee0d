"use strict";
document.documentElement.classList.add("js");

// Buttons show one frame of a group at a time.
function flip(group) {
  const frames = [...group.querySelectorAll("figure")];
  const show = (index) => frames.forEach((frame, i) => { frame.hidden = i !== index; });
  for (const input of group.querySelectorAll("input")) {
    input.addEventListener("change", () => show(Number(input.value)));
    if (input.checked) show(Number(input.value));
  }
}

// All frames of a group share one zoom, so that a place stays in view while one flips.
function zoom(group) {
  const area = group.querySelector(".frames");
  const images = [...group.querySelectorAll(".view img")];
  const pointers = new Map();
  let scale = 1, x = 0, y = 0;

  const view = () => images.find((image) => image.offsetParent).parentElement.getBoundingClientRect();
  const clamp = (value, low, high) => Math.min(Math.max(value, low), high);

  function draw() {
    const box = view();
    x = clamp(x, box.width * (1 - scale), 0);
    y = clamp(y, box.height * (1 - scale), 0);
    area.classList.toggle("zoomed", scale > 1);
    for (const image of images) image.style.transform = `translate(${x}px, ${y}px) scale(${scale})`;
  }

  // Scale about a point of the view, given in pixels from its corner; its middle by default.
  function rescale(factor, px, py) {
    const box = view();
    const next = clamp(scale * factor, 1, 16);
    const [cx, cy] = [px ?? box.width / 2, py ?? box.height / 2];
    x = cx - (cx - x) * next / scale;
    y = cy - (cy - y) * next / scale;
    scale = next;
    draw();
  }

  function move(dx, dy) { x += dx; y += dy; draw(); }
  function reset() { scale = 1; draw(); }

  const actions = {
    "+": () => rescale(1.5), "=": () => rescale(1.5), "-": () => rescale(1 / 1.5), "0": reset,
    ArrowLeft: () => move(60, 0), ArrowRight: () => move(-60, 0),
    ArrowUp: () => move(0, 60), ArrowDown: () => move(0, -60),
  };
  area.addEventListener("keydown", (event) => {
    const moves = event.key.startsWith("Arrow");
    if (!(event.key in actions) || event.ctrlKey || event.metaKey || (moves && scale === 1)) return;
    event.preventDefault();
    actions[event.key]();
  });
  const buttons = { in: () => rescale(1.5), out: () => rescale(1 / 1.5), reset };
  for (const button of group.querySelectorAll("[data-zoom]")) {
    button.addEventListener("click", buttons[button.dataset.zoom]);
  }
  area.addEventListener("wheel", (event) => {
    if (!event.ctrlKey) return;
    event.preventDefault();
    const box = view();
    rescale(Math.exp(-event.deltaY / 300), event.clientX - box.left, event.clientY - box.top);
  }, { passive: false });

  area.addEventListener("pointerdown", (event) => {
    pointers.set(event.pointerId, event);
    if (scale > 1) area.setPointerCapture(event.pointerId);
  });
  area.addEventListener("pointermove", (event) => {
    const last = pointers.get(event.pointerId);
    if (!last) return;
    const others = [...pointers.values()].filter((one) => one.pointerId !== event.pointerId);
    pointers.set(event.pointerId, event);
    if (others.length === 1) {
      const gap = (one) => Math.hypot(one.clientX - others[0].clientX, one.clientY - others[0].clientY);
      const box = view();
      const middle = [(event.clientX + others[0].clientX) / 2, (event.clientY + others[0].clientY) / 2];
      rescale(gap(event) / Math.max(gap(last), 1), middle[0] - box.left, middle[1] - box.top);
    } else if (scale > 1) {
      move(event.clientX - last.clientX, event.clientY - last.clientY);
    }
  });
  for (const name of ["pointerup", "pointercancel", "pointerleave"]) {
    area.addEventListener(name, (event) => pointers.delete(event.pointerId));
  }
  window.addEventListener("resize", draw);
}

for (const group of document.querySelectorAll(".flip")) { flip(group); zoom(group); }

// Maps are images with a palette: another palette in its place recolours them.
const palettes = JSON.parse(document.getElementById("palettes").textContent);
const bytesOf = (text) => Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0));

function recolour(image, name) {
  image.dataset.bytes ??= image.src.split(",")[1];
  const bytes = bytesOf(image.dataset.bytes);
  const view = new DataView(bytes.buffer);
  let place = 8;
  while (view.getUint32(place + 4) !== 0x504c5445) place += 12 + view.getUint32(place);  // "PLTE"
  bytes.set(bytesOf(palettes[name]), place);
  if (image.src.startsWith("blob:")) URL.revokeObjectURL(image.src);
  image.src = URL.createObjectURL(new Blob([bytes], { type: "image/png" }));
}

for (const button of document.querySelectorAll(".recolour")) {
  button.addEventListener("click", () => {
    const uniform = document.documentElement.classList.toggle("uniform");
    button.setAttribute("aria-pressed", String(uniform));
    for (const image of document.querySelectorAll("img.map")) recolour(image, uniform ? "uniform" : "planck");
  });
}

// Figures can be taken away, as vectors or as pixels.
function download(name, address) {
  const link = document.createElement("a");
  link.href = address;
  link.download = name;
  link.click();
}

function pixels(image) {
  const canvas = document.createElement("canvas");
  canvas.width = 3 * image.naturalWidth;
  canvas.height = 3 * image.naturalHeight;
  canvas.getContext("2d").drawImage(image, 0, 0, canvas.width, canvas.height);
  return canvas.toDataURL("image/png");
}

for (const image of document.querySelectorAll(".gallery img[src^='data:image/svg']")) {
  const place = document.createElement("p");
  place.className = "save";
  const name = image.alt.replace(/[^A-Za-z0-9]+/g, "_").slice(0, 60);
  for (const [kind, address] of [["svg", () => image.src], ["png", () => pixels(image)]]) {
    const button = document.createElement("button");
    button.type = "button";
    button.textContent = `Save ${kind.toUpperCase()}`;
    button.setAttribute("aria-label", `Save as ${kind.toUpperCase()}: ${image.alt}`);
    button.addEventListener("click", () => download(`${name}.${kind}`, address()));
    place.append(button);
  }
  image.after(place);
}
