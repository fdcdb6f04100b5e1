// What one gene says of every cell, on the map. Text is set, never HTML.
(function () {
  "use strict";
  const holder = document.getElementById("reasons"), canvas = document.getElementById("reasons-map");
  if (!canvas) return;
  const D = JSON.parse(holder.textContent), context = canvas.getContext("2d");
  const choice = document.getElementById("gene"), scale = document.getElementById("scale"), tip = document.getElementById("tip");
  const TOP = 65534;

  function unpack(text) {
    const raw = atob(text), bytes = new Uint8Array(raw.length);
    for (let i = 0; i < raw.length; i++) bytes[i] = raw.charCodeAt(i);
    const view = new DataView(bytes.buffer), out = new Uint16Array(raw.length / 2);
    for (let i = 0; i < out.length; i++) out[i] = view.getUint16(2 * i, true);
    return out;
  }

  const X = unpack(D.x), Y = unpack(D.y), values = D.genes.map((g) => unpack(g.values));
  const rgb = (hex) => [1, 3, 5].map((i) => parseInt(hex.slice(i, i + 2), 16));
  const [against, middle, speaking] = D.colours.map(rgb);

  function colour(share) {
    const end = share < 0 ? against : speaking, t = Math.min(Math.abs(share), 1);
    return "rgb(" + middle.map((c, i) => Math.round(c + t * (end[i] - c))).join(",") + ")";
  }

  const share = (k, i) => (2 * values[k][i]) / TOP - 1;
  let placed = [];

  function draw() {
    const ratio = window.devicePixelRatio || 1, width = canvas.clientWidth, height = canvas.clientHeight;
    if (!width || !height || !D.genes.length) return;
    canvas.width = Math.round(width * ratio);
    canvas.height = Math.round(height * ratio);
    context.setTransform(ratio, 0, 0, ratio, 0, 0);
    context.clearRect(0, 0, width, height);
    const k = Number(choice.value), side = Math.min(width, height) - 40;
    const left = (width - side) / 2, top = (height - side) / 2;
    const order = Array.from({ length: D.n }, (_, i) => i).sort((a, b) => Math.abs(share(k, a)) - Math.abs(share(k, b)));
    placed = [];
    for (const i of order) {
      const x = left + (side * X[i]) / TOP, y = top + side * (1 - Y[i] / TOP);
      context.fillStyle = colour(share(k, i));
      context.beginPath();
      context.arc(x, y, D.n > 2000 ? 2 : 3, 0, 2 * Math.PI);
      context.fill();
      placed.push([x, y, i]);
    }
    const most = D.genes[k].most;
    scale.textContent = "from −" + most.toFixed(2) + " (against) to +" + most.toFixed(2) + " (for)";
    performance.mark("whycell-reasons");
  }

  canvas.addEventListener("mousemove", function (event) {
    let best = 81, found = -1;
    for (const [x, y, i] of placed) {
      const d = (x - event.offsetX) ** 2 + (y - event.offsetY) ** 2;
      if (d < best) {
        best = d;
        found = i;
      }
    }
    tip.hidden = found < 0;
    if (found < 0) return;
    const k = Number(choice.value);
    tip.textContent = D.names[found] + ", " + D.calls[found] + ": " + D.genes[k].name + " " + (share(k, found) * D.genes[k].most).toFixed(2);
    tip.style.left = Math.min(event.offsetX + 14, canvas.clientWidth - 240) + "px";
    tip.style.top = event.offsetY + 14 + "px";
  });
  canvas.addEventListener("mouseleave", () => (tip.hidden = true));
  choice.addEventListener("change", draw);
  window.addEventListener("resize", draw);
  draw();
})();
