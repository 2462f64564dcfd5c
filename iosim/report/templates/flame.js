"use strict";

/* Flame graphs (iosim.report.flame). Every div with the class "flame" has its data as JSON and its first view as SVG;
   this draws the view again, and again after each zoom, search or choice. A frame is a number: 0 is everything, and
   each stands behind its caller. */
(() => {
  const SVG = "http://www.w3.org/2000/svg";
  const SMALLEST_PX = 1;
  const CHARACTER_PX = 6.63;
  const SAME = 0.01;
  const FULL = 0.5;
  const UNITS = [["s", 1e9], ["ms", 1e6], ["us", 1e3], ["ns", 1]];
  const OPS = { R: "reads", W: "writes", F: "flushes" };

  function threeDigits(value) {
    if (value === 0) return "0";
    const size = Number(Math.abs(value).toPrecision(3));
    if (size < 1) return size >= 1e-4 ? String(Number(value.toPrecision(3))) : value.toExponential(2);
    const digits = size < 10 ? 2 : size < 100 ? 1 : 0;
    return value.toLocaleString("en", { minimumFractionDigits: digits, maximumFractionDigits: digits });
  }

  function time(ns) {
    const [unit, size] = UNITS.find(([, each]) => Number(Math.abs(ns).toPrecision(3)) >= each) ?? UNITS[3];
    return `${threeDigits(ns / size)} ${unit}`;
  }

  function percent(share) {
    return share > 0 && share < 0.0005 ? "<0.1%" : `${(100 * share).toFixed(1)}%`;
  }

  function make(name, attributes, ...content) {
    const element = document.createElement(name);
    for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
    element.append(...content);
    return element;
  }

  function makeSvg(name, attributes) {
    const element = document.createElementNS(SVG, name);
    for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
    return element;
  }

  class Flame {
    constructor(box) {
      this.box = box;
      this.data = JSON.parse(box.querySelector(".flame-data").textContent);
      this.row = Number(box.dataset.row);
      this.graph = box.querySelector(".flame-graph");
      this.say = box.querySelector(".flame-say");
      this.tip = make("div", { class: "flame-tip", hidden: "" });
      box.append(this.tip);
      this.isDifference = this.data.runs.length > 1;
      this.below = this.data.parents.map(() => []);
      this.depth = [0];
      this.data.parents.forEach((parent, at) => {
        if (at) {
          this.below[parent].push(at);
          this.depth[at] = this.depth[parent] + 1;
        }
      });
      this.run = 0;
      this.top = 0;
      this.current = 0;
      this.where = this.op = this.stage = null;
      this.pattern = null;
      this.makeTools();
      this.choose();
      if (!this.sums[0].total[0] && this.isDifference) this.setRun(1);
      this.listen();
    }

    name(at) {
      return this.data.texts[this.data.names[at]];
    }

    /* What there is to choose, to search and to press. */
    makeTools() {
      const tools = this.box.querySelector(".flame-tools");
      const unique = (column) => [...new Set(this.data.groups.map((group) => group[column]))];
      const choice = (label, all, values, texts, chosen) => {
        if (values.length < 2) return;
        const select = make("select", {}, ...(all ? [make("option", { value: "" }, all)] : []));
        values.forEach((value, at) => select.append(make("option", { value }, texts[at])));
        select.addEventListener("change", () => chosen(select.value || null));
        tools.append(make("label", {}, label, select));
      };
      const drives = unique(0);
      const ops = unique(1);
      choice("Drive", "all", drives, drives, (value) => { this.where = value; this.choose(); });
      choice("Requests", "all", ops, ops.map((op) => OPS[op]), (value) => { this.op = value; this.choose(); });
      if (this.isDifference) {
        const names = this.data.runs.map((run) => run.name);
        choice("Widths of", "", ["0", "1"], names, (value) => this.setRun(Number(value)));
      }
      this.search = make("input", { type: "search", placeholder: "regular expression", spellcheck: "false", autocapitalize: "off" });
      this.found = make("output", { "aria-live": "polite" });
      this.back = make("button", { type: "button", disabled: "" }, "Reset zoom");
      tools.append(make("label", {}, "Search", this.search), this.back, this.found);
      for (const span of this.box.querySelectorAll(".flame-key span[data-stage]")) {
        const button = make("button", { type: "button", "aria-pressed": "false" });
        button.append(...span.childNodes);
        span.append(button);
        button.addEventListener("click", () => this.mark(button, Number(span.dataset.stage)));
      }
    }

    listen() {
      this.search.addEventListener("input", () => this.find(this.search.value));
      this.back.addEventListener("click", () => this.zoom(0));
      this.graph.addEventListener("click", (event) => {
        const at = this.frameOf(event.target);
        if (at !== null) this.zoom(at);
      });
      this.graph.addEventListener("pointermove", (event) => {
        const at = this.frameOf(event.target);
        if (at === null || event.pointerType === "touch") this.hideTip();
        else this.showTip(at, event.clientX, event.clientY);
      });
      this.graph.addEventListener("pointerleave", () => this.hideTip());
      this.graph.addEventListener("focusin", (event) => {
        const at = this.frameOf(event.target);
        if (at === null) return;
        this.current = at;
        this.tell(at);
      });
      this.graph.addEventListener("keydown", (event) => this.key(event));
      new ResizeObserver(() => {
        if (this.graph.clientWidth !== this.width) this.draw();
      }).observe(this.graph);
      addEventListener("beforeprint", () => {
        this.search.value = "";
        this.pattern = this.stage = null;
        this.zoom(0);
      });
    }

    frameOf(target) {
      const element = target.closest(".fr");
      return element ? Number(element.dataset.at) : null;
    }

    setRun(run) {
      this.run = run;
      this.draw();
    }

    /* The time of each frame with its callees, for what is chosen. */
    choose() {
      const { groups, runs, parents, stages } = this.data;
      const wanted = groups.map(([where, op]) => (this.where ?? where) === where && (this.op ?? op) === op);
      this.sums = runs.map(({ requests, own }) => {
        const self = new Float64Array(parents.length);
        const byStage = parents.map(() => new Float64Array(stages.length));
        for (let at = 0; at < own.length; at += 4) {
          if (!wanted[own[at]]) continue;
          self[own[at + 1]] += own[at + 3];
          byStage[own[at + 1]][own[at + 2]] += own[at + 3];
        }
        for (let at = parents.length - 1; at > 0; at -= 1) {
          byStage[at].forEach((ns, stage) => { byStage[parents[at]][stage] += ns; });
        }
        const total = byStage.map((values) => values.reduce((sum, ns) => sum + ns, 0));
        const n = requests.reduce((sum, count, group) => sum + (wanted[group] ? count : 0), 0);
        return { self, byStage, total, n };
      });
      for (const span of this.box.querySelectorAll(".flame-key span[data-stage]")) {
        const ns = this.sums[0].byStage[0][Number(span.dataset.stage)];
        span.querySelector("b").textContent = percent(ns / (this.sums[0].total[0] || 1));
      }
      if (!this.sums[this.run].total[this.top]) this.top = 0;
      this.draw();
      this.tell(this.top);
    }

    perRequest(at, run) {
      const { total, n } = this.sums[run];
      return n ? total[at] / n : 0;
    }

    share(at) {
      return this.sums[this.run].total[at] / (this.sums[this.run].total[0] || 1);
    }

    /* Where each frame of the view begins and how wide it is, as shares of the width. What was searched for is there
       however narrow it is, and the way to it. */
    places(hits) {
      const { total } = this.sums[this.run];
      const places = new Map();
      const wanted = new Set();
      if (this.pattern) {
        for (let at of hits) {
          for (; at >= 0 && !wanted.has(at); at = this.data.parents[at]) wanted.add(at);
        }
      }
      for (let at = this.top; at >= 0; at = this.data.parents[at]) places.set(at, [0, 1]);
      const walk = (at, x, width) => {
        let begin = x;
        for (const other of this.below[at]) {
          const part = total[at] ? width * (total[other] / total[at]) : 0;
          if (part * this.width >= SMALLEST_PX || wanted.has(other)) {
            places.set(other, [begin, Math.max(part, SMALLEST_PX / this.width)]);
            walk(other, begin, part);
          }
          begin += part;
        }
      };
      walk(this.top, 0, 1);
      return places;
    }

    draw() {
      this.width = this.graph.clientWidth || 800;
      this.hideTip();
      const focused = this.graph.contains(document.activeElement);
      const hits = this.hits();
      const places = this.places(hits);
      if (!places.has(this.current)) this.current = this.top;
      const drawn = document.createDocumentFragment();
      for (const [at, [x, width]] of [...places].sort(([a], [b]) => a - b)) {
        drawn.append(this.frame(at, x, width, hits));
      }
      this.graph.replaceChildren(drawn);
      this.graph.setAttribute("height", String((1 + Math.max(...[...places.keys()].map((at) => this.depth[at]))) * this.row));
      this.back.disabled = this.top === 0;
      this.report(hits);
      if (focused) this.element(this.current)?.focus({ preventScroll: true });
    }

    element(at) {
      return this.graph.querySelector(`[data-at="${at}"]`);
    }

    frame(at, x, width, hits) {
      const { kinds, style, fill, ink } = this.colour(at);
      if (this.top !== at && this.depth[at] < this.depth[this.top]) kinds.push("above");
      if (hits) kinds.push(hits.has(at) ? (this.pattern ? "hit" : "held") : "miss");
      const element = makeSvg("svg", {
        class: ["fr", ...kinds].join(" "), style, x: `${100 * x}%`, y: this.depth[at] * this.row, width: `${100 * width}%`,
        height: this.row - 1, "data-at": at, role: "button", tabindex: at === this.current ? 0 : -1,
        "aria-label": `${this.name(at)}, ${time(this.perRequest(at, this.run))} per request, ${percent(this.share(at))}`,
      });
      element.append(makeSvg("rect", { width: "100%", height: "100%", style: fill ? `--c:${fill}` : "" }));
      const room = Math.floor((width * this.width - 7) / CHARACTER_PX);
      const name = this.name(at);
      if (room >= 3) {
        const text = makeSvg("text", { x: 4, y: 13, style: ink ? `--t:${ink}` : "" });
        text.textContent = name.length > room ? `${name.slice(0, room - 1)}…` : name;
        element.append(text);
      }
      return element;
    }

    colour(at) {
      if (this.isDifference) {
        const change = this.change(at);
        if (Math.abs(change) < SAME) return { kinds: ["same"], style: "" };
        const strength = Math.round(100 * Math.min(1, Math.abs(change) / FULL));
        return { kinds: [change > 0 ? "more" : "less"], style: `--d:${strength}%` };
      }
      if (this.depth[at] < 2) return { kinds: ["who"], style: "" };
      const { byStage, self } = this.sums[0];
      const [, fill, ink] = this.data.stages[byStage[at].indexOf(Math.max(...byStage[at]))];
      return { kinds: self[at] ? [] : ["through"], style: "", fill, ink };
    }

    /* By how much a frame takes more time per request than in the base, in parts of the longer time. */
    change(at) {
      const [now, then] = [this.perRequest(at, 0), this.perRequest(at, 1)];
      return (now - then) / Math.max(now, then, 1e-9);
    }

    zoom(at) {
      this.top = at;
      this.current = at;
      this.draw();
      this.tell(at);
    }

    /* Search, and the stages of the key: what is found, and which share of the time it takes. */
    find(text) {
      this.unpress();
      this.pattern = null;
      this.search.removeAttribute("aria-invalid");
      if (text) {
        try {
          this.pattern = new RegExp(text, "i");
        } catch {
          this.search.setAttribute("aria-invalid", "true");
          this.pattern = new RegExp(text.replace(/[\\^$.*+?()[\]{}|]/g, "\\$&"), "i");
        }
      }
      this.draw();
    }

    mark(button, stage) {
      const pressed = button.getAttribute("aria-pressed") === "true";
      this.search.value = "";
      this.pattern = null;
      this.unpress();
      if (!pressed) {
        button.setAttribute("aria-pressed", "true");
        this.stage = stage;
      }
      this.draw();
    }

    unpress() {
      this.stage = null;
      for (const other of this.box.querySelectorAll(".flame-key button")) other.setAttribute("aria-pressed", "false");
    }

    hits() {
      const frames = this.data.parents.keys();
      if (this.pattern) return new Set([...frames].filter((at) => this.pattern.test(this.name(at)) && this.sums[this.run].total[at]));
      if (this.stage === null) return null;
      return new Set([...frames].filter((at) => this.sums[0].byStage[at][this.stage]));
    }

    report(hits) {
      this.found.textContent = "";
      if (!hits || !this.pattern) return;
      let share = 0;
      for (const at of hits) {
        let above = this.data.parents[at];
        while (above >= 0 && !hits.has(above)) above = this.data.parents[above];
        if (above < 0) share += this.share(at);
      }
      const all = this.perRequest(0, this.run);
      const n = hits.size;
      this.found.textContent = n
        ? `${n} frame${n === 1 ? "" : "s"}: ${percent(share)}, ${time(share * all)} per request`
        : "nothing found";
    }

    /* Tooltip, and the line below the graph. */
    shares(at) {
      const { total } = this.sums[this.run];
      const texts = [`${percent(this.share(at))} of all`];
      if (this.top && at !== this.top && total[this.top]) {
        texts.push(`${percent(total[at] / total[this.top])} of ${this.name(this.top)}`);
      }
      return texts.join(", ");
    }

    difference(at) {
      const [now, then] = [this.perRequest(at, 0), this.perRequest(at, 1)];
      const sign = now >= then ? "+" : "−";
      return `${sign}${time(Math.abs(now - then))}${then ? ` (${sign}${percent(Math.abs(now / then - 1))})` : ", new"}`;
    }

    facts(at) {
      const { total, self, byStage, n } = this.sums[this.run];
      const each = (ns) => time(ns / (n || 1));
      const rows = [];
      if (this.isDifference) {
        this.data.runs.forEach((run, number) => rows.push([run.name, time(this.perRequest(at, number))]));
        rows.push(["difference", this.difference(at)]);
      } else {
        rows.push(["per request", each(total[at])]);
      }
      rows.push(["share", this.shares(at)]);
      if (self[at] && total[at] > self[at]) rows.push(["itself", each(self[at])]);
      const stages = [...byStage[at].entries()].filter(([, ns]) => ns).sort(([, a], [, b]) => b - a);
      for (const [stage, ns] of stages.slice(0, 4)) rows.push([this.data.stages[stage][0], each(ns)]);
      const rest = stages.slice(4);
      if (rest.length) rows.push([`${rest.length} more stages`, each(rest.reduce((sum, [, ns]) => sum + ns, 0))]);
      return rows;
    }

    tell(at) {
      const each = (run) => `${time(this.perRequest(at, run))} per request`;
      const { runs } = this.data;
      const texts = this.isDifference
        ? [`${runs[0].name} ${each(0)}`, `${runs[1].name} ${each(1)}`, this.difference(at), this.shares(at)]
        : [each(0), this.shares(at)];
      if (!at) {
        texts.push(`${this.sums.map(({ n }) => n.toLocaleString("en")).join(" and ")} requests`);
        texts.push("click a frame to zoom in");
      }
      this.say.replaceChildren(make("b", {}, this.name(at)), `: ${texts.join("; ")}`);
    }

    showTip(at, x, y) {
      const rows = this.facts(at).map(([what, value]) => make("tr", {}, make("td", {}, what), make("td", {}, value)));
      this.tip.replaceChildren(make("b", {}, this.name(at)), make("table", {}, make("tbody", {}, ...rows)));
      this.tip.hidden = false;
      const { offsetWidth, offsetHeight } = this.tip;
      const left = Math.min(x + 14, innerWidth - offsetWidth - 6);
      const top = y + 18 + offsetHeight > innerHeight ? y - offsetHeight - 10 : y + 18;
      this.tip.style.left = `${Math.max(4, left)}px`;
      this.tip.style.top = `${Math.max(4, top)}px`;
    }

    hideTip() {
      this.tip.hidden = true;
    }

    /* Arrows move between frames, Enter and Space zoom, Escape zooms out. */
    key(event) {
      const at = this.current;
      const shown = (other) => other !== undefined && other >= 0 && this.element(other);
      const beside = at ? this.below[this.data.parents[at]].filter(shown) : [0];
      const place = beside.indexOf(at);
      const moves = {
        ArrowUp: this.data.parents[at],
        ArrowDown: this.below[at].find(shown),
        ArrowLeft: beside[place - 1],
        ArrowRight: beside[place + 1],
        Home: beside[0],
        End: beside.at(-1),
      };
      if (event.key in moves) {
        if (shown(moves[event.key])) this.move(moves[event.key]);
      } else if (event.key === "Enter" || event.key === " ") {
        this.zoom(at);
      } else if (event.key === "Escape" && this.top) {
        this.zoom(0);
      } else {
        return;
      }
      event.preventDefault();
    }

    move(at) {
      this.element(this.current)?.setAttribute("tabindex", "-1");
      const element = this.element(at);
      element.setAttribute("tabindex", "0");
      element.focus();
    }
  }

  for (const box of document.querySelectorAll(".flame")) new Flame(box);
})();
