// Steps through a computation node by node, forward and then backward. D is what page.py wrote: nodes, links and the
// order of backward. Nothing is fetched; colours change by classes, and moving is one transform of the whole picture.
(() => {
  "use strict";
  const D = JSON.parse(document.getElementById("data").textContent);
  const $ = (id) => document.getElementById(id);
  const view = $("view"), stage = $("stage"), svg = stage.querySelector("svg"), root = document.documentElement;
  const nodes = new Map(), links = new Map(), uses = new Map(), slashes = new Map();
  const put = (map, key, element) => { const held = map.get(key); if (held) held.push(element); else map.set(key, [element]); };
  for (const e of svg.querySelectorAll("[data-n]")) {
    put(nodes, +e.dataset.n, e);
    if (e.dataset.w !== undefined) put(uses, +e.dataset.w, e);
  }
  for (const e of svg.querySelectorAll("[data-e]")) for (const n of e.dataset.e.split(" ")) put(links, +n, e);
  for (const e of svg.querySelectorAll("[data-c]")) for (const n of e.dataset.c.split(" ")) put(slashes, +n, e);  // of cuts
  const into = D.nodes.map(() => []), out = D.nodes.map(() => []);
  D.links.forEach(([a, b], i) => { into[b].push(i); out[a].push(i); });
  for (const [map, pairs] of [[nodes, D.same], [links, D.alike], [uses, D.alike]]) {
    const groups = new Map();  // what is drawn once for all time steps stands for the same in each
    for (const [n, m] of pairs) put(groups, m, n);
    for (const [m, others] of groups) {
      const all = [m, ...others], once = all.flatMap((i) => map.get(i) || []).filter((e) => "all" in e.dataset);
      for (const i of all) map.set(i, [...new Set([...(map.get(i) || []), ...once])]);
    }
  }
  const cut = new Set(D.cuts), walked = new Set(D.walk.map(([n]) => n));
  const stops = D.nodes.map(() => []);  // the cuts at a node's inputs, or behind inputs to which no gradient comes
  D.nodes.forEach((_, n) => {
    for (const l of into[n]) stops[n].push(...(cut.has(l) ? [l] : walked.has(D.links[l][0]) ? [] : stops[D.links[l][0]]));
    stops[n] = [...new Set(stops[n])].slice(0, 8);
  });
  const strips = [], columns = new Map(), spoken = new Map();  // spoken: an element of a strip, and what it says
  const bars = svg.querySelectorAll("rect.v,rect.z,rect[class^=h]");  // in the order of the strips
  let bar = 0;
  for (const [label, path, cells] of D.strips) {
    strips.push([label, path, new Map(cells)]);
    for (const [step, said] of cells) {
      spoken.set(bars[bar], `${label} at t = ${step}: ${said}`);
      put(columns, `${path} ${step}`, bars[bar++]);
    }
  }
  const within = (m, path) => m.step !== null && (!path || m.path === path || m.path.startsWith(path + "."));
  const forward = D.nodes.map((n, i) => i).filter((i) => D.nodes[i].op !== "leaf");
  const F = forward.length, N = F + D.walk.length;
  let k = 0, timer = 0, found = [], at = -1;

  // What is lit

  const counts = { on: new Map(), bk: new Map(), cur: new Map(), now: new Map(), stop: new Map() };  // several steps may light one element
  function mark(elements, name, on) {
    for (const e of elements || []) {
      const count = (counts[name].get(e) || 0) + (on ? 1 : -1);
      counts[name].set(e, count);
      e.classList.toggle(name, count > 0);
    }
  }
  const markLeaf = (link, name, on) => {  // the chip of one use, or the node where there is no chip
    const use = uses.get(link);
    if (use) mark(use, name, on);
    else if (D.nodes[D.links[link][0]].op === "leaf") mark(nodes.get(D.links[link][0]), name, on);
  };
  function apply(step, on) {
    if (step < F) {
      const n = forward[step];
      mark(nodes.get(n), "on", on);
      for (const l of into[n]) { mark(links.get(l), "on", on); markLeaf(l, "on", on); }
    } else {
      const [n, passed] = D.walk[step - F];
      mark(nodes.get(n), "bk", on);
      for (const l of passed) { mark(links.get(l), "bk", on); markLeaf(l, "bk", on); }
    }
  }
  const paths = new Set(D.strips.map((strip) => strip[1]));
  function current(step, on) {
    if (step < 0) return;
    const here = D.nodes[step < F ? forward[step] : D.walk[step - F][0]];
    for (const path of paths) if (within(here, path)) mark(columns.get(`${path} ${here.step}`), "now", on);
    if (step < F) mark(nodes.get(forward[step]), "cur", on);
    else {
      const [n, passed] = D.walk[step - F];
      if (D.nodes[n].op !== "leaf") mark(nodes.get(n), "cur", on);
      for (const l of passed) mark(links.get(l), "cur", on);
      for (const l of stops[n]) for (const map of [links, slashes]) mark(map.get(l), "stop", on);
    }
  }
  function go(to, follow = true) {
    to = Math.max(0, Math.min(N, Math.round(to)));
    current(k - 1, false);
    while (k < to) apply(k++, true);
    while (k > to) apply(--k, false);
    svg.classList.toggle("fwd", k > 0 && k <= F);
    svg.classList.toggle("back", k > F);
    current(k - 1, true);
    $("slider").value = k;
    $("count").textContent = k === 0 ? `${F} forward, ${N - F} backward`
      : k <= F ? `forward ${k} of ${F}` : `backward ${k - F} of ${N - F}`;
    describe();
    if (follow && k > 0) reveal(k <= F ? forward[k - 1] : D.walk[k - F - 1][0]);
  }

  // What is said

  const num = (x) => x === null || x === undefined ? "not computed" : x === 0 ? "0" : Math.abs(x) < 1e-3 || Math.abs(x) >= 1e4 ? x.toExponential(2) : x.toPrecision(3);
  const when = (n) => D.nodes[n].step === null ? "" : `, t = ${D.nodes[n].step}`;
  const symbol = (m) => m.label && m.label !== m.op ? `${m.label} (${m.op})` : m.op;  // as in the picture, and in words
  const called = (n) => { const m = D.nodes[n]; return m.op === "leaf" ? m.name || m.label : m.name ? `${m.name} = ${symbol(m)}` : symbol(m); };
  const element = (tag, text, parent) => { const e = document.createElement(tag); if (text !== undefined) e.textContent = text; parent.append(e); return e; };
  function table(parent, rows) {
    const t = element("table", undefined, parent);
    for (const [a, b, fresh] of rows) {
      const r = element("tr", undefined, t);
      if (fresh) r.className = "new";
      element("td", a, r); element("td", b, r);
    }
  }
  function about(n, panel) {
    const m = D.nodes[n];
    element("h2", called(n) + when(n), panel);
    if (m.path) element("p", m.path, panel).className = "hint";
    element("p", `shape [${m.shape.join(", ")}]` + (m.detail ? `; ${m.detail}` : ""), panel);
    if (m.value) element("p", `value ${m.value}`, panel);
    element("p", `size of the gradient: ${num(m.gradient)}`, panel);
    kept(n, panel);
  }
  const place = (n) => called(n) + when(n);
  const gone = (n) => `what it had saved (${D.released[n].join(", ")}) was released by backward()`;
  function kept(n, panel) {  // what is not a matter of numbers: what was cut, and what was released
    const given = into[n].filter((l) => cut.has(l)), taken = out[n].filter((l) => cut.has(l));
    if (D.released[n]) element("p", gone(n), panel).className = "mark";
    for (const l of given) element("p", `cut: ${place(D.links[l][0])} was detached on its way here; no gradient passes back to it`, panel).className = "mark";
    for (const l of taken.slice(0, 8)) element("p", `cut: detached on its way to ${place(D.links[l][1])}; no gradient comes back from there`, panel).className = "mark";
  }
  function stripTable(n, panel) {  // what the strips say of this time step
    const m = D.nodes[n], rows = strips.filter(([, path]) => within(m, path)).map(([label, , said]) => [label, said.get(m.step) || "none"]);
    if (!rows.length) return;
    element("h3", `strips at t = ${m.step}`, panel);
    table(panel, rows);
  }
  function contributions(n, until) {  // what a shared weight has received, in the order of backward
    const rows = [];
    for (let i = 0; i < until; i++) for (const l of D.walk[i][1])
      if (D.links[l][0] === n) rows.push([D.nodes[D.links[l][1]].step, D.links[l][2], i === until - 1]);
    return rows;
  }
  function weightTable(n, until, panel) {
    const rows = contributions(n, until), all = contributions(n, D.walk.length).length;
    element("h3", `gradient of ${called(n)}: ${rows.length} of ${all} parts`, panel);
    element("p", `sizes of the arrays that are added up to one of size ${num(D.nodes[n].gradient)}`, panel).className = "hint";
    if (rows.length > 200) element("p", "the last 200 of them:", panel).className = "hint";
    table(panel, rows.slice(-200).map(([t, g, fresh]) => [t === null ? "" : `t = ${t}`, `+= ${num(g)}`, fresh]));
  }
  function describe() {
    const panel = $("panel");
    panel.replaceChildren();
    if (k === 0) {
      const help = element("div", undefined, panel);
      help.className = "help";
      element("h2", "Step through it", help);
      element("p", "First through the computation, node by node, then through backward(). Hover a node for what is known " +
        "of it, a weight for all its uses; or find it by name.", help);
      table(help, [["one node on, back", "→ ←"], ["play, pause", "space"], ["start, end", "Home End"], ["to backward", "B"],
        ["find; next; leave", "/ Enter Esc"], ["zoom", "+ −"], ["move", ", . ↑ ↓"], ["fit; light or dark", "F D"]]);
      for (const note of D.notes) element("p", note, panel);
      return;
    }
    if (k <= F) {
      const n = forward[k - 1];
      about(n, panel);
      element("h3", "made from", panel);
      table(panel, into[n].map((l) => [called(D.links[l][0]) + when(D.links[l][0]), `[${D.nodes[D.links[l][0]].shape.join(", ")}]`]));
      stripTable(n, panel);
      return;
    }
    const [n, passed] = D.walk[k - F - 1];
    element("h2", `backward through ${called(n)}${when(n)}`, panel);
    element("p", `gradient that has arrived: ${num(D.nodes[n].gradient)}`, panel);
    for (const l of stops[n]) {
      const [s, end] = D.links[l], on = end === n ? "" : ` on its way to ${place(end)}`;
      element("p", `cut: no gradient passes to ${place(s)}, which was detached${on}`, panel).className = "mark";
    }
    if (passed.length) {
      element("h3", "passes on", panel);
      table(panel, passed.map((l) => {
        const s = D.links[l][0];
        return [called(s) + (D.nodes[s].op === "leaf" ? when(n) : when(s)), `+= ${num(D.links[l][2])}`];
      }));
      for (const s of new Set(passed.map((l) => D.links[l][0]))) if (D.nodes[s].op === "leaf" && out[s].length > 1) weightTable(s, k - F, panel);
    } else if (D.nodes[n].op === "leaf") element("p", "It is collected here: this is the gradient of a leaf.", panel);
    else if (D.released[n]) element("p", `It goes no further: ${gone(n)}`, panel).className = "mark";
    else element("p", "It goes no further.", panel);
    stripTable(n, panel);
  }

  // Moving

  let x = 0, y = 0, scale = 1;
  const W = svg.viewBox.baseVal.width, H = svg.viewBox.baseVal.height;
  let drawn = 0, sharpen = 0;  // the scale at which the browser has drawn the layer, which it keeps while it is moved
  function move() {
    stage.style.transform = `translate(${x}px,${y}px) scale(${scale})`;
    name();
    if (scale === drawn) return;
    clearTimeout(sharpen);
    sharpen = setTimeout(() => {
      drawn = scale;
      stage.style.willChange = "auto";
      requestAnimationFrame(() => requestAnimationFrame(() => { stage.style.willChange = "transform"; }));
    }, 120);
  }
  const names = [...svg.querySelectorAll("text.r")].map((text) => {  // of the strips: they stay in sight
    const e = element("span", text.textContent, $("names"));
    return [e, +text.getAttribute("x"), +text.getAttribute("y")];
  });
  function name() {
    for (const [e, right, line] of names) {
      const away = x + right * scale < 30;
      e.hidden = !away;
      if (!away) continue;
      e.style.transform = `translateY(${y + (line + 4.5) * scale}px)`;
      e.style.font = `${9 * scale}px/${14 * scale}px sans-serif`;
    }
  }
  function zoom(by, px, py) {
    const next = Math.max(0.02, Math.min(8, scale * by));
    x = px - (px - x) * next / scale; y = py - (py - y) * next / scale; scale = next; move();
  }
  function fit() {
    const w = view.clientWidth, h = view.clientHeight;
    scale = Math.min(1.6, Math.max(Math.min(w / W, h / H), Math.min(h / H, 0.8)));
    x = W * scale < w ? (w - W * scale) / 2 : 0; y = Math.max(0, (h - H * scale) / 2); move();
  }
  function reveal(n) {
    const all = nodes.get(n) || [], e = all.find((e) => !("all" in e.dataset)) || all[0];
    if (!e) return;
    const r = e.getBoundingClientRect(), v = view.getBoundingClientRect(), pad = 40;
    if (r.left < v.left + pad || r.right > v.right - pad) x += v.left + v.width / 2 - (r.left + r.width / 2);
    if (r.top < v.top + 8 || r.bottom > v.bottom - 8) y += v.top + v.height / 2 - (r.top + r.height / 2);
    move();
  }
  let held = null;
  view.addEventListener("pointerdown", (e) => { held = [e.clientX, e.clientY]; view.classList.add("drag"); view.setPointerCapture(e.pointerId); });
  view.addEventListener("pointermove", (e) => {
    if (!held) return;
    x += e.clientX - held[0]; y += e.clientY - held[1]; held = [e.clientX, e.clientY]; move();
  });
  for (const end of ["pointerup", "pointercancel"]) view.addEventListener(end, () => { held = null; view.classList.remove("drag"); });
  view.addEventListener("wheel", (e) => {
    e.preventDefault();
    const r = view.getBoundingClientRect();
    if (e.shiftKey) { x -= e.deltaY; move(); } else zoom(Math.exp(-e.deltaY / 500), e.clientX - r.left, e.clientY - r.top);
  }, { passive: false });

  // Hovering

  let lit = [];
  function unlight() { for (const e of lit) e.classList.remove("lit"); lit = []; }
  function light(n) {
    unlight();
    told = null;
    lit = [...(nodes.get(n) || [])];
    for (const l of [...out[n], ...into[n]]) lit.push(...(links.get(l) || []));
    for (const e of lit) e.classList.add("lit");
    const panel = $("panel");
    panel.replaceChildren();
    about(n, panel);
    if (D.nodes[n].op === "leaf" && out[n].length > 1) weightTable(n, D.walk.length, panel);
  }
  let told = null;  // the element of a strip that is spoken of
  const dim = () => { if (lit.length || told) { told = null; unlight(); describe(); } };
  function tell(e) {
    dim();
    told = e;
    element("h2", spoken.get(e), $("panel")).className = "told";
    $("panel").prepend($("panel").lastChild);
  }
  view.addEventListener("pointerover", (e) => {
    const g = e.target.closest("[data-n]");
    if (held) return;
    if (g) light(+g.dataset.n); else if (spoken.has(e.target)) tell(e.target); else dim();
  });

  // On paper: the picture in pieces that fit, cut where no node and no time step stands

  const WIDE = 1270, HIGH = 760, LABELS = 110;  // of a piece, in points of the picture; of the strips' names
  function pieces(from, to, most, spans) {
    const made = [];
    for (let a = from; ;) {
      if (to - a <= most) { made.push([a, to]); return made; }
      const end = a + most, over = (at) => spans.filter(([s, e]) => s < at && at < e);
      let cut = end;
      for (let found = over(cut); found.length && cut > a + most / 3; found = over(cut)) cut = Math.min(...found.map(([s]) => s)) - 1;
      if (cut > a + most / 3) { made.push([a, cut]); a = cut; }
      else { made.push([a, end]); a = Math.min(...over(end).map(([s]) => s)); }  // they overlap
    }
  }
  function sheets(on) {
    const place = $("sheets");
    place.replaceChildren();
    if (!on) return;
    const drawn = [...svg.querySelector("g").children], foot = drawn.findIndex((e) => e.classList.contains("legend"));
    const boxed = drawn.map((e) => { const b = e.getBBox(); return [e, b.x, b.y, b.x + b.width, b.y + b.height]; });
    const body = foot < 0 ? boxed : boxed.slice(0, foot), below = foot < 0 ? [] : boxed.slice(foot);
    const far = (all, i) => Math.max(0, ...all.map((b) => b[i])) + 4;
    const make = (kind, parent, attributes) => {
      const e = document.createElementNS("http://www.w3.org/2000/svg", kind);
      for (const [key, value] of Object.entries(attributes)) e.setAttribute(key, value);
      parent.append(e);
      return e;
    };
    function sheet([left, right], [top, bottom], all, text) {
      const w = right - left, h = bottom - top, lead = left > 0 && names.length ? LABELS : 0;
      const figure = element("figure", undefined, place);
      const whole = make("svg", figure, { class: svg.getAttribute("class"), viewBox: `0 0 ${w + lead} ${h}` });
      whole.style.width = `${w + lead}px`;
      const inner = make("svg", whole, { x: lead, y: 0, width: w, height: h, viewBox: `${left} ${top} ${w} ${h}` });
      for (const [e, a, b, c, d] of all) {
        if (a < right && c > left && b < bottom && d > top) inner.append(e.cloneNode(true));
        if (lead && e.classList.contains("r") && b < bottom && d > top) {
          const copy = e.cloneNode(true);
          copy.setAttribute("x", lead - 7); copy.setAttribute("y", e.getAttribute("y") - top);
          whole.append(copy);
        }
      }
      if (text) element("figcaption", text, figure);
    }
    const whole = body.filter(([e]) => e.classList.contains("n") || e.classList.contains("t"));
    const spans = (i, most) => whole.map((b) => [b[i] - 3, b[i + 2] + 3]).filter(([s, e]) => e - s < most * 2 / 3);
    const across = pieces(-4, far(body, 3), WIDE, spans(1, WIDE)), down = pieces(-4, far(body, 4), HIGH, spans(2, HIGH));
    const count = across.length * down.length;
    const legend = () => { if (below.length) sheet([-4, far(below, 3)], [Math.min(...below.map((b) => b[2])) - 4, far(below, 4)], below); };
    if (count > 1) legend();
    let i = 0;
    for (const row of down) for (const column of across) sheet(column, row, body, count > 1 ? `${++i} of ${count}` : "");
    if (count === 1) legend();
  }
  const paper = matchMedia("print");
  paper.addEventListener("change", () => sheets(paper.matches));
  addEventListener("beforeprint", () => sheets(true));
  addEventListener("afterprint", () => sheets(false));

  // Controls

  function stop() { clearInterval(timer); timer = 0; $("play").textContent = "play"; }
  function play() {
    if (timer) return stop();
    if (k >= N) go(0);
    $("play").textContent = "pause";
    timer = setInterval(() => { if (k >= N) stop(); else go(k + 1); }, Math.max(30, Math.min(160, 60000 / N)));  // a long one does not take for ever
  }
  function search(next) {
    const wanted = $("find").value.trim().toLowerCase();
    if (!wanted) { found = []; $("hits").textContent = ""; dim(); return; }
    if (!next) {
      found = D.nodes.map((m, i) => i).filter((i) => `${D.nodes[i].name} ${D.nodes[i].label} ${D.nodes[i].op} ${D.nodes[i].path} t=${D.nodes[i].step}`.toLowerCase().includes(wanted) && nodes.has(i));
      at = -1;
    }
    if (!found.length) { $("hits").textContent = "none"; dim(); return; }
    at = (at + 1) % found.length;
    $("hits").textContent = `${at + 1} of ${found.length}`;
    light(found[at]); reveal(found[at]);
  }
  const dark = matchMedia("(prefers-color-scheme: dark)");
  const theme = (name) => { root.dataset.theme = name; };
  theme(dark.matches ? "dark" : "light");
  dark.addEventListener("change", () => theme(dark.matches ? "dark" : "light"));
  const actions = {
    first: () => go(0), prev: () => go(k - 1), play, next: () => go(k + 1), last: () => go(N), backward: () => { if (N > F) go(F + 1); },
    fit, theme: () => theme(root.dataset.theme === "dark" ? "light" : "dark"),
  };
  for (const [id, action] of Object.entries(actions)) $(id).addEventListener("click", (e) => {
    if (e.detail) e.currentTarget.blur();  // a click of the mouse does not make the space bar press it again
    if (id !== "play") stop();
    action();
  });
  $("backward").disabled = N === F;
  $("slider").max = N;
  $("slider").addEventListener("input", (e) => { stop(); go(+e.target.value); });
  $("find").addEventListener("input", () => search(false));
  $("find").addEventListener("keydown", (e) => { if (e.key === "Enter") search(true); if (e.key === "Escape") { e.target.value = ""; search(false); e.target.blur(); } });
  const keys = { ArrowRight: "next", ArrowLeft: "prev", " ": "play", Home: "first", End: "last", b: "backward", f: "fit", d: "theme" };
  addEventListener("keydown", (e) => {
    if (e.target === $("find") || e.ctrlKey || e.metaKey || e.altKey) return;
    if (e.key === " " && e.target.tagName === "BUTTON") return;  // it presses that button
    const pan = { ArrowUp: [0, 60], ArrowDown: [0, -60], ",": [120, 0], ".": [-120, 0] }[e.key];
    const key = keys[e.key] || keys[e.key.toLowerCase()];
    if (key) { if (key !== "play") stop(); actions[key](); }
    else if (pan) { x += pan[0]; y += pan[1]; move(); }
    else if (["+", "=", "-"].includes(e.key)) zoom(e.key !== "-" ? 1.25 : 0.8, view.clientWidth / 2, view.clientHeight / 2);
    else if (e.key === "/") $("find").focus();
    else return;
    e.preventDefault();
  });
  addEventListener("resize", fit);
  fit();
  go(0);
  window.tinyseq = { go, data: D, get k() { return k; }, get length() { return N; }, get forward() { return F; } };
})();
