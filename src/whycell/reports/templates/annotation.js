// The map of cells: drawn pixel by pixel on a canvas, because that stays quick for 100,000 cells.
(function () {
  "use strict";
  const D = JSON.parse(document.getElementById("cells").textContent);
  const byId = (id) => document.getElementById(id);
  const canvas = byId("cells-map"), context = canvas.getContext("2d"), tip = byId("tip"), legend = byId("legend");
  const NONE = 65535, TOP = 65534, BINS = 10;

  function unpack(text) {
    const raw = atob(text), bytes = new Uint8Array(raw.length);
    for (let i = 0; i < raw.length; i++) bytes[i] = raw.charCodeAt(i);
    const view = new DataView(bytes.buffer), out = new Uint16Array(raw.length / 2);
    for (let i = 0; i < out.length; i++) out[i] = view.getUint16(2 * i, true);
    return out;
  }

  const n = D.n, X = unpack(D.x), Y = unpack(D.y), C = D.categories, N = D.numbers;
  for (const key in C) C[key].codes = unpack(C[key].codes);
  for (const key in N) N[key].values = unpack(N[key].values);

  // ---- what is drawn: colour, filter, view --------------------------------------------------------------------
  const TITLES = { call: "Type", confidence: "Confidence", novelty: "Novelty", donor: "Donor" };
  const state = { by: "call", filters: {}, near: null, hover: -1, pinned: false, zoom: 1, dx: 0, dy: 0, labels: true };
  let width = 0, height = 0, shown = n, light = false;
  const visible = new Uint8Array(n).fill(1);

  // Dots are drawn in one shuffled order, so that no type lies on top because of its name. The shuffle is seeded.
  const order = new Uint32Array(n);
  for (let i = 0, seed = 1; i < n; i++) {
    seed = (Math.imul(seed, 1664525) + 1013904223) >>> 0;
    const j = Math.floor((seed / 4294967296) * (i + 1));
    order[i] = order[j];
    order[j] = i;
  }

  const rgb = (hex) => [1, 3, 5].map((i) => parseInt(hex.slice(i, i + 2), 16));
  const css = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
  const dark = () => !light && matchMedia("(prefers-color-scheme: dark)").matches;
  const hexOf = (name) => {
    const c = css(name);
    return rgb(c.length === 4 ? "#" + c[1] + c[1] + c[2] + c[2] + c[3] + c[3] : c);
  };

  // From calm to "look here", lightness falling (rising on a dark page) all the way: it reads without colour vision.
  const RAMPS = [["#cfdae2", "#a9bccb", "#e3a84a", "#c9572a", "#8c1d24", "#4a0d1c"], ["#33414b", "#4d6474", "#b0702f", "#e39a3b", "#f6cf6a", "#fff3bf"]];
  function ramp(share) {
    const stops = RAMPS[dark() ? 1 : 0].map(rgb), at = Math.min(Math.max(share, 0), 1) * (stops.length - 1);
    const k = Math.min(Math.floor(at), stops.length - 2), t = at - k;
    return stops[k].map((c, i) => Math.round(c + t * (stops[k + 1][i] - c)));
  }
  const attention = (by, q) => (by === "confidence" ? 1 - q / TOP : q / TOP);
  const bin = (q) => (q === NONE ? BINS : Math.min(Math.floor((q / (TOP + 1)) * BINS), BINS - 1));
  const classOf = (by, i) => (C[by] ? C[by].codes[i] : bin(N[by].values[i]));

  function colours(by) {
    if (C[by]) return C[by].colours.map(rgb);
    const table = [];
    for (let q = 0; q < 256; q++) table.push(ramp(attention(by, (q / 255) * TOP)));
    table.push(rgb("#b9bec4"));
    return table;
  }
  const colourIndex = (by, i) => (C[by] ? C[by].codes[i] : N[by].values[i] === NONE ? 256 : Math.round((N[by].values[i] / TOP) * 255));

  function refilter() {
    const tests = Object.entries(state.filters).filter(([, wanted]) => wanted.size);
    shown = 0;
    for (let i = 0; i < n; i++) {
      visible[i] = tests.every(([by, wanted]) => wanted.has(classOf(by, i))) ? 1 : 0;
      shown += visible[i];
    }
    if (state.hover >= 0 && !visible[state.hover]) point(-1);
  }

  // ---- the view: data (0–65534 both ways) to pixels of the canvas --------------------------------------------
  let x0 = TOP, x1 = 0, y0 = TOP, y1 = 0;
  for (let i = 0; i < n; i++) {
    if (X[i] < x0) x0 = X[i];
    if (X[i] > x1) x1 = X[i];
    if (Y[i] < y0) y0 = Y[i];
    if (Y[i] > y1) y1 = Y[i];
  }
  const scale = () => state.zoom * Math.min((width - 56) / Math.max(x1 - x0, 1), (height - 56) / Math.max(y1 - y0, 1));
  const toX = (x, s) => (x - (x0 + x1) / 2) * s + width / 2 + state.dx;
  const toY = (y, s) => ((y0 + y1) / 2 - y) * s + height / 2 + state.dy;
  const radius = () => Math.min(0.9 + 0.15 * Math.sqrt((width * height) / Math.max(n, 1)), 3.6) * Math.pow(state.zoom, 0.4);

  function stamp(r) {
    const k = Math.ceil(r), out = [];
    for (let dy = -k; dy <= k; dy++)
      for (let dx = -k; dx <= k; dx++) {
        const cover = Math.min(Math.max(r + 0.5 - Math.hypot(dx, dy), 0), 1);
        if (cover > 0) out.push([dx, dy, cover]);
      }
    return out;
  }

  function draw() {
    const ratio = window.devicePixelRatio || 1;
    width = canvas.clientWidth;
    height = canvas.clientHeight;
    if (!width || !height) return;
    const w = (canvas.width = Math.round(width * ratio)), h = (canvas.height = Math.round(height * ratio));
    const image = context.createImageData(w, h), pixels = image.data, paper = hexOf("--card"), dim = hexOf("--dim");
    for (let p = 0; p < pixels.length; p += 4) {
      pixels[p] = paper[0];
      pixels[p + 1] = paper[1];
      pixels[p + 2] = paper[2];
      pixels[p + 3] = 255;
    }
    const by = state.by, table = colours(by), s = scale(), dot = stamp(radius() * ratio);
    const put = function (i, colour, alpha) {
      const cx = Math.round(toX(X[i], s) * ratio), cy = Math.round(toY(Y[i], s) * ratio);
      if (cx < -20 || cy < -20 || cx > w + 20 || cy > h + 20) return;
      for (let k = 0; k < dot.length; k++) {
        const px = cx + dot[k][0], py = cy + dot[k][1];
        if (px < 0 || py < 0 || px >= w || py >= h) continue;
        const a = dot[k][2] * alpha, p = 4 * (py * w + px);
        pixels[p] += a * (colour[0] - pixels[p]);
        pixels[p + 1] += a * (colour[1] - pixels[p + 1]);
        pixels[p + 2] += a * (colour[2] - pixels[p + 2]);
      }
    };
    const near = state.near;
    const lit = (i) => visible[i] && (near === null || classOf(by, i) === near);
    for (let k = 0; k < n; k++) if (!lit(order[k])) put(order[k], dim, 0.9);
    for (let k = 0; k < n; k++) if (lit(order[k])) put(order[k], table[colourIndex(by, order[k])], 0.82);
    context.putImageData(image, 0, 0);
    context.setTransform(ratio, 0, 0, ratio, 0, 0);
    if (state.labels) names("call", s, lit); // whatever the colours mean, names say where one is
    if (state.hover >= 0) ring(state.hover, s);
    if (!draw.done) performance.mark("whycell-map");
    draw.done = true;
  }

  let waiting = false;
  function redraw() {
    if (waiting) return;
    waiting = true;
    requestAnimationFrame(function () {
      waiting = false;
      draw();
    });
  }

  function ring(i, s) {
    context.beginPath();
    context.arc(toX(X[i], s), toY(Y[i], s), radius() + 4, 0, 2 * Math.PI);
    context.lineWidth = 2;
    context.strokeStyle = css("--ink");
    context.stroke();
  }

  // Names stand where their type is densest; a name that would cover another is left out (the legend has it).
  const GRID = 28;
  function names(by, s, lit) {
    const labels = C[by].labels, bins = labels.map(() => new Map()), totals = new Uint32Array(labels.length);
    for (let i = 0; i < n; i++) {
      if (!lit(i)) continue;
      const c = C[by].codes[i], key = Math.floor((X[i] / (TOP + 1)) * GRID) * GRID + Math.floor((Y[i] / (TOP + 1)) * GRID);
      let b = bins[c].get(key);
      if (!b) bins[c].set(key, (b = [0, 0, 0]));
      b[0]++;
      b[1] += X[i];
      b[2] += Y[i];
      totals[c]++;
    }
    const placed = [];
    context.font = "600 12.5px " + css("--sans");
    context.textAlign = "center";
    context.textBaseline = "middle";
    context.lineJoin = "round";
    const ranked = labels.map((_, c) => c).sort((a, b) => totals[b] - totals[a]);
    for (const c of ranked.slice(0, 40)) {
      if (totals[c] < Math.max(3, 0.003 * n) || labels[c] === "unknown" || labels[c] === "") continue;
      let best = null, most = -1;
      for (const [key, b] of bins[c]) {
        let sum = 2 * b[0];
        for (const step of [1, -1, GRID, -GRID]) sum += (bins[c].get(key + step) || [0])[0];
        if (sum > most) [most, best] = [sum, b];
      }
      const text = labels[c].length > 48 ? labels[c].slice(0, 47) + "…" : labels[c];
      const half = context.measureText(text).width / 2 + 3;
      const x = Math.min(Math.max(toX(best[1] / best[0], s), half + 4), width - half - 4), middle = toY(best[2] / best[0], s);
      for (const shift of n < 1500 ? [-15, 15, -30, 30] : [0, -16, 16, -32, 32]) {
        const y = middle + shift;
        if (y < 10 || y > height - 10 || placed.some((p) => Math.abs(p.x - x) < p.half + half && Math.abs(p.y - y) < 16)) continue;
        placed.push({ x: x, y: y, half: half });
        context.lineWidth = 4;
        context.strokeStyle = css("--card");
        context.globalAlpha = 0.88;
        context.strokeText(text, x, y);
        context.globalAlpha = 1;
        context.fillStyle = css("--ink");
        context.fillText(text, x, y);
        break;
      }
    }
  }

  // ---- the cell under the pointer ----------------------------------------------------------------------------
  const SIDE = 128, starts = new Uint32Array(SIDE * SIDE + 1), inBin = new Uint32Array(n);
  const binOf = (x, y) => (x >> 9) * SIDE + (y >> 9);
  for (let i = 0; i < n; i++) starts[binOf(X[i], Y[i]) + 1]++;
  for (let b = 0; b < SIDE * SIDE; b++) starts[b + 1] += starts[b];
  const fill = starts.slice();
  for (let i = 0; i < n; i++) inBin[fill[binOf(X[i], Y[i])]++] = i;

  function nearest(px, py) {
    const s = scale(), reach = Math.max(radius() + 4, 7) / s;
    const x = (px - width / 2 - state.dx) / s + (x0 + x1) / 2, y = (y0 + y1) / 2 - (py - height / 2 - state.dy) / s;
    let best = -1, least = reach * reach;
    const low = (v) => Math.max(Math.floor((v - reach) / 512), 0), high = (v) => Math.min(Math.floor((v + reach) / 512), SIDE - 1);
    for (let bx = low(x); bx <= high(x); bx++)
      for (let by = low(y); by <= high(y); by++)
        for (let k = starts[bx * SIDE + by]; k < starts[bx * SIDE + by + 1]; k++) {
          const i = inBin[k], d = (X[i] - x) ** 2 + (Y[i] - y) ** 2;
          if (visible[i] && d < least) [least, best] = [d, i];
        }
    return best;
  }

  const textOf = (key, i) => (C[key] ? C[key].labels[C[key].codes[i]] : "");
  function numberOf(key, i) {
    if (!N[key] || N[key].values[i] === NONE) return null;
    return N[key].low + (N[key].values[i] / TOP) * (N[key].high - N[key].low);
  }
  function cell(i) {
    const out = { index: i, name: D.names[i], call: textOf("call", i), id: C.call.ids[C.call.codes[i]] };
    for (const key of ["donor", "leaf", "runner_up", "flag", "cluster_call"]) out[key] = textOf(key, i);
    for (const key of ["confidence", "leaf_confidence", "novelty"]) out[key] = numberOf(key, i);
    return out;
  }
  const fixed = (v) => (v === null ? "–" : v.toFixed(2));

  function make(tag, className, text) {
    const element = document.createElement(tag);
    if (className) element.className = className;
    if (text !== undefined) element.textContent = text;
    return element;
  }

  function rowsOf(c) {
    const rows = [["confidence", fixed(c.confidence)]];
    if (c.leaf) rows.push(["leaf", c.leaf + (c.leaf_confidence === null ? "" : " (" + fixed(c.leaf_confidence) + ")")]);
    if (c.runner_up) rows.push(["runner-up", c.runner_up]);
    rows.push(["novelty", fixed(c.novelty)]);
    if (c.donor) rows.push(["donor", c.donor]);
    if (c.cluster_call) rows.push(["cluster", c.cluster_call]);
    rows.push(["flags", c.flag ? c.flag.split(";").join(", ") : "none"]);
    return rows;
  }

  function point(i) {
    if (i === state.hover) return;
    state.hover = i;
    if (i < 0) {
      state.pinned = false;
      tip.hidden = true;
      return redraw();
    }
    const c = cell(i), head = make("p", "tip-call"), list = make("dl");
    const swatch = make("span", "swatch");
    swatch.style.background = C.call.colours[C.call.codes[i]];
    head.append(swatch, make("span", "tip-type", c.call));
    for (const [key, value] of rowsOf(c)) list.append(make("dt", "", key), make("dd", "", value));
    tip.replaceChildren(head, make("p", "tip-name", c.name + (c.id ? " · " + c.id : "")), list);
    tip.hidden = false;
    const s = scale(), x = toX(X[i], s), y = toY(Y[i], s), gap = radius() + 12;
    tip.style.left = (x + gap + tip.offsetWidth < width ? x + gap : Math.max(x - gap - tip.offsetWidth, 4)) + "px";
    tip.style.top = Math.min(Math.max(y - tip.offsetHeight / 2, 4), Math.max(height - tip.offsetHeight - 4, 4)) + "px";
    redraw();
  }
  const say = (i) => (byId("said").textContent = i < 0 ? "" : D.names[i] + ": " + rowsOf(cell(i)).reduce((t, r) => t + ", " + r[0] + " " + r[1], textOf("call", i)));

  // ---- the legend --------------------------------------------------------------------------------------------
  function items(by) {
    if (C[by]) return C[by].labels.map((label, k) => ({ key: k, label: label || "(none)", colour: C[by].colours[k], count: C[by].counts[k] }));
    const counts = new Uint32Array(BINS + 1), { low, high } = N[by], at = (k) => (low + (k / BINS) * (high - low)).toFixed(high - low > 5 ? 1 : 2);
    for (let i = 0; i < n; i++) counts[bin(N[by].values[i])]++;
    const out = [];
    for (let k = BINS - 1; k >= 0; k--) out.push({ key: k, label: at(k) + " to " + at(k + 1), colour: "rgb(" + ramp(attention(by, ((k + 0.5) / BINS) * TOP)).join() + ")", count: counts[k] });
    if (counts[BINS]) out.push({ key: BINS, label: "no value", colour: "#b9bec4", count: counts[BINS] });
    return out;
  }

  function drawLegend() {
    const by = state.by, wanted = (state.filters[by] = state.filters[by] || new Set());
    byId("legend-title").textContent = TITLES[by];
    legend.replaceChildren();
    for (const item of items(by)) {
      const button = make("button", "item"), swatch = make("span", "swatch");
      button.type = "button";
      button.dataset.label = item.label;
      swatch.style.background = item.colour;
      button.append(swatch, make("span", "item-name", item.label), make("span", "item-n", item.count.toLocaleString("en")));
      button.addEventListener("click", function () {
        wanted.has(item.key) ? wanted.delete(item.key) : wanted.add(item.key);
        state.near = null;
        press();
        update();
      });
      for (const [event, key] of [["mouseenter", item.key], ["focus", item.key], ["mouseleave", null], ["blur", null]])
        button.addEventListener(event, function () {
          state.near = wanted.size ? null : key;
          redraw();
        });
      item.button = button;
      legend.append(button);
    }
    const all = items(by);
    const press = function () {
      legend.classList.toggle("some", wanted.size > 0);
      Array.from(legend.children).forEach((b, k) => b.setAttribute("aria-pressed", String(wanted.has(all[k].key))));
    };
    press();
  }

  function update() {
    refilter();
    const active = Object.entries(state.filters).filter(([, wanted]) => wanted.size).map(([by]) => TITLES[by].toLowerCase());
    byId("show-all").hidden = !active.length;
    byId("shown").textContent = active.length
      ? shown.toLocaleString("en") + " of " + n.toLocaleString("en") + " cells, chosen by " + active.join(" and ")
      : "Click to show only these; click more to add.";
    redraw();
  }

  // ---- listening ---------------------------------------------------------------------------------------------
  for (const input of document.querySelectorAll("input[name=colour]"))
    input.addEventListener("change", function () {
      state.by = input.value;
      state.near = null;
      drawLegend();
      update();
    });
  byId("labels").addEventListener("change", function () {
    state.labels = this.checked;
    redraw();
  });
  byId("show-all").addEventListener("click", function () {
    state.filters = {};
    drawLegend();
    update();
  });

  function zoom(factor, px, py) {
    const before = state.zoom, ax = px - width / 2, ay = py - height / 2;
    state.zoom = Math.min(Math.max(before * factor, 1), 40);
    const k = state.zoom / before;
    [state.dx, state.dy] = state.zoom === 1 ? [0, 0] : [ax - (ax - state.dx) * k, ay - (ay - state.dy) * k];
    point(-1);
    redraw();
  }
  byId("zoom-in").addEventListener("click", () => zoom(1.6, width / 2, height / 2));
  byId("zoom-out").addEventListener("click", () => zoom(1 / 1.6, width / 2, height / 2));
  byId("zoom-reset").addEventListener("click", () => zoom(1e-9, width / 2, height / 2));

  let drag = null;
  canvas.addEventListener("pointerdown", (e) => (drag = { x: e.clientX, y: e.clientY, dx: state.dx, dy: state.dy, far: false }));
  window.addEventListener("pointerup", function (e) {
    if (drag && !drag.far && e.target === canvas) {
      const i = nearest(e.offsetX, e.offsetY);
      point(i);
      state.pinned = i >= 0;
    }
    drag = null;
    canvas.classList.remove("moving");
  });
  canvas.addEventListener("pointermove", function (e) {
    if (drag && state.zoom > 1 && (drag.far || Math.hypot(e.clientX - drag.x, e.clientY - drag.y) > 4)) {
      drag.far = true;
      canvas.classList.add("moving");
      state.dx = drag.dx + e.clientX - drag.x;
      state.dy = drag.dy + e.clientY - drag.y;
      point(-1);
      return redraw();
    }
    if (!state.pinned) point(nearest(e.offsetX, e.offsetY));
  });
  canvas.addEventListener("pointerleave", () => state.pinned || point(-1));
  canvas.addEventListener("dblclick", (e) => zoom(2, e.offsetX, e.offsetY));
  // A plain wheel scrolls the page; with Ctrl, and on a pinch, it zooms.
  canvas.addEventListener("wheel", function (e) {
    if (!e.ctrlKey && !e.metaKey) return;
    e.preventDefault();
    zoom(Math.exp(-e.deltaY / 300), e.offsetX, e.offsetY);
  }, { passive: false });

  const STEPS = { ArrowRight: [1, 0], ArrowLeft: [-1, 0], ArrowUp: [0, 1], ArrowDown: [0, -1] };
  function step(ux, uy) {
    const from = state.hover, fx = from < 0 ? (x0 + x1) / 2 : X[from], fy = from < 0 ? (y0 + y1) / 2 : Y[from];
    let best = -1, least = Infinity;
    for (let i = 0; i < n; i++) {
      if (!visible[i] || i === from) continue;
      const dx = X[i] - fx, dy = Y[i] - fy, ahead = dx * ux + dy * uy, aside = Math.abs(dx * uy) + Math.abs(dy * ux);
      const cost = from < 0 ? Math.hypot(dx, dy) : ahead > 0 && ahead >= aside ? ahead + 2 * aside : Infinity;
      if (cost < least) [least, best] = [cost, i];
    }
    if (best >= 0) {
      point(best);
      state.pinned = true;
      say(best);
    }
  }
  canvas.addEventListener("keydown", function (e) {
    if (STEPS[e.key]) step(...STEPS[e.key]);
    else if (e.key === "Escape") point(-1);
    else if (e.key === "+" || e.key === "=") zoom(1.6, width / 2, height / 2);
    else if (e.key === "-") zoom(1 / 1.6, width / 2, height / 2);
    else return;
    e.preventDefault();
  });
  byId("find").addEventListener("input", function () {
    const wanted = this.value.trim();
    if (!wanted) return point(-1);
    let i = D.names.indexOf(wanted);
    if (i < 0) i = D.names.findIndex((name) => name.startsWith(wanted));
    point(i);
    state.pinned = i >= 0;
    say(i);
  });

  new ResizeObserver(redraw).observe(canvas);
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", function () {
    drawLegend();
    redraw();
  });
  for (const [event, onPaper] of [["beforeprint", true], ["afterprint", false]])
    window.addEventListener(event, function () {
      light = onPaper;
      draw();
    });

  drawLegend();
  update();

  // For tests and for the curious; docs/reports.md describes it.
  window.whycell = {
    n: n,
    cell: cell,
    place: function (i) {
      const box = canvas.getBoundingClientRect(), s = scale();
      return { x: box.left + toX(X[i], s), y: box.top + toY(Y[i], s) };
    },
    hovered: () => state.hover,
    shown: () => shown,
    drawn: () => Boolean(draw.done),
  };
})();
