/* The part of the report about single classes; its data are made by class_browser.py. */
(() => {
  const data = JSON.parse(document.getElementById("class-data").textContent);
  const section = document.getElementById("classes");
  const find = (selector) => section.querySelector(selector);
  const tools = find("form.class-tools");
  const cards = find(".class-cards");
  const more = find(".class-more");
  const detail = document.getElementById("class-detail");
  const scatter = find(".class-scatter");
  const AT_ONCE = 12;
  const total = data.ids.length;
  const placeOf = new Map(data.ids.map((id, place) => [id, place]));
  const valueOf = new Map(data.values.map((value) => [value.name, value]));
  const outliersOf = new Map();
  for (const [id, name, deviation] of data.outliers) {
    outliersOf.set(id, [...(outliersOf.get(id) || []), { name, deviation }]);
  }
  const thousands = new Intl.NumberFormat("en-US");

  function element(tag, properties = {}, ...children) {
    const made = Object.assign(document.createElement(tag), properties);
    made.append(...children);
    return made;
  }

  function number(value) {
    if (value === null) return "–";
    const size = Math.abs(value);
    const text = size !== 0 && (size < 1e-3 || size >= 1e6) ? value.toExponential(2) : String(Number(value.toPrecision(3)));
    return text.replace("-", "−");
  }

  function ordinal(place) {
    const tens = place % 100;
    const suffix = tens > 10 && tens < 14 ? "th" : { 1: "st", 2: "nd", 3: "rd" }[place % 10] || "th";
    return thousands.format(place) + suffix;
  }

  /* Places of the classes by a value, the worst first (or the highest, if no side is worse); unknown ones are left out. */
  function ranking(value) {
    if (!value.ranking) {
      const known = data.ids.map((_, place) => place).filter((place) => value.values[place] !== null);
      const sign = value.better === "higher" ? 1 : -1;
      value.ranking = known.sort((a, b) => sign * (value.values[a] - value.values[b]) || a - b);
      value.rank = new Map(value.ranking.map((place, rank) => [place, rank + 1]));
      const ascending = value.ranking.map((place) => value.values[place]).sort((a, b) => a - b);
      const half = ascending.length >> 1;
      value.median = !ascending.length ? null : ascending.length % 2 ? ascending[half] : (ascending[half - 1] + ascending[half]) / 2;
    }
    return value.ranking;
  }

  /* Where a class stands in the ranking by a value, counted from the nearer end. */
  function position(value, place) {
    ranking(value);
    const rank = value.rank.get(place);
    if (rank === undefined) return "unknown";
    const known = value.ranking.length;
    const [first, last] = ends(value);
    const [fromEnd, word] = 2 * rank <= known + 1 ? [rank, first] : [known + 1 - rank, last];
    return `${fromEnd === 1 ? "" : `${ordinal(fromEnd)} `}${word} of ${thousands.format(known)}`;
  }

  const ends = (value) => (value.better ? ["worst", "best"] : ["highest", "lowest"]);
  const label = (place) => `index ${data.ids[place]}` + (data.wordnet[place] ? ` · ${data.wordnet[place]}` : "");

  function matches(place, text) {
    if (!text) return true;
    if (/^\d+$/.test(text) && Number(text) === data.ids[place]) return true;
    if (data.wordnet[place] === text) return true;
    return data.names[place].toLowerCase().includes(text);
  }

  function picture(id, name) {
    const source = data.pictures[id];
    if (!source) return element("p", { className: "class-none", textContent: "no pictures" });
    const image = element("img", { alt: `generated images of the class ${name}` });
    image.addEventListener("error", () => image.replaceWith(element("p", { className: "class-none", textContent: `pictures are in ${source}` })));
    image.src = source;
    return image;
  }

  function reasons(id) {
    return (outliersOf.get(id) || []).map(({ name }) => {
      const value = valueOf.get(name);
      ranking(value);
      const figures = `${value.heading} ${number(value.values[placeOf.get(id)])}, median ${number(value.median)}`;
      return value.fault ? `${value.fault} (${figures})` : figures;
    });
  }

  const isClear = (id) => outliersOf.get(id).some(({ deviation }) => deviation >= data.clear);

  /* What closely related classes tell about a class that stands out. */
  function tellingRelations(id) {
    return data.relations.filter((relation) => (relation.rows[id] || [[]])[0][3]).map((relation) => {
      const [, name, words] = relation.rows[id][0];
      return `${relation.heading}: ${name}, ${words}`;
    });
  }

  function card(place, value) {
    const id = data.ids[place];
    const made = element("a", { className: "class-card", href: `#class-${id}` });
    made.append(picture(id, data.names[place]), element("strong", { textContent: data.names[place] }), element("span", { textContent: label(place) }));
    const why = reasons(id);
    if (value) {
      made.append(element("span", { textContent: `${value.heading} ${number(value.values[place])}, ${position(value, place)}` }));
    }
    if (why.length) made.append(element("span", { className: "class-why", textContent: `Stands out${isClear(id) ? "" : " a little"}: ${why.slice(0, 3).join("; ")}${why.length > 3 ? `; and ${why.length - 3} more` : ""}` }));
    for (const words of why.length ? tellingRelations(id) : []) made.append(element("span", { className: "class-why", textContent: words }));
    if (why.length && !isClear(id)) made.classList.add("class-unclear");
    return made;
  }

  /* Places in the chosen order, without classes that the search leaves out. */
  function selected() {
    const text = tools.elements.find.value.trim().toLowerCase();
    const order = tools.elements.order.value;
    let places;
    if (order === "outliers") {
      places = [...outliersOf.keys()].map((id) => placeOf.get(id));
      if (text) places = [...places, ...data.ids.map((_, place) => place).filter((place) => !outliersOf.has(data.ids[place]))];
    } else if (order === "index") {
      places = data.ids.map((_, place) => place);
    } else if (order === "name") {
      places = data.ids.map((_, place) => place).sort((a, b) => data.names[a].localeCompare(data.names[b]));
    } else {
      places = [...ranking(valueOf.get(order))];
    }
    if (tools.elements.end.value === "last") places.reverse();
    return places.filter((place) => matches(place, text));
  }

  let shown = AT_ONCE;

  function drawCards() {
    const places = selected();
    const value = valueOf.get(tools.elements.order.value);
    const rows = places.slice(0, shown);
    cards.replaceChildren(...rows.map((place) => card(place, value)));
    more.hidden = rows.length >= places.length;
    const searched = tools.elements.find.value.trim();
    const found = searched ? `${thousands.format(places.length)} of ${thousands.format(total)} classes match “${searched}”` : tools.elements.order.value === "outliers" ? `${thousands.format(places.length)} of ${thousands.format(total)} classes stand out` : `${thousands.format(places.length)} classes`;
    const by = value && !searched ? `, ${ends(value)[tools.elements.end.value === "last" ? 1 : 0]} ${value.heading} first` : "";
    find(".class-count").textContent = `${found}${by}; ${thousands.format(rows.length)} shown.`;
  }

  function setEnds() {
    const value = valueOf.get(tools.elements.order.value);
    const words = value ? ends(value) : ["first", "last"];
    tools.elements.end.parentElement.hidden = tools.elements.order.value === "outliers";
    tools.elements.end.replaceChildren(new Option(words[0], "first"), new Option(words[1], "last"));
  }

  function valuesTable(place) {
    const id = data.ids[place];
    const standing = new Set((outliersOf.get(id) || []).map(({ name }) => name));
    const rows = data.values.map((value) => {
      const where = position(value, place);
      const heading = element("th", { scope: "row", textContent: value.heading, title: value.meaning });
      const row = element("tr", {}, heading, element("td", { className: "number", textContent: number(value.values[place]) }), element("td", { className: "number", textContent: number(value.median) }), element("td", { textContent: where }));
      if (standing.has(value.name)) row.className = "class-outlier";
      return row;
    });
    const head = element("tr", {}, ...["value", "this class", "median", "rank"].map((text) => element("th", { scope: "col", textContent: text })));
    return element("div", { className: "scroll" }, element("table", {}, element("thead", {}, head), element("tbody", {}, ...rows)));
  }

  function relatedLists(id) {
    return data.relations.filter((relation) => relation.rows[id]).map((relation) => {
      const items = relation.rows[id].map(([other, name, words]) => {
        const who = placeOf.has(other) ? element("a", { href: `#class-${other}`, textContent: name }) : element("span", { textContent: name });
        return element("li", {}, who, ` ${words}`);
      });
      return element("div", {}, element("h4", { textContent: relation.heading }), element("ol", {}, ...items));
    });
  }

  function openClass(id, focus) {
    const place = placeOf.get(id);
    if (place === undefined) return;
    const close = element("button", { type: "button", textContent: "Close" });
    close.addEventListener("click", () => closeClass());
    const why = reasons(id);
    const summary = why.length ? [...tellingRelations(id), `Stands out${isClear(id) ? "" : " a little"}: ${why.join("; ")}`, ""].join(". ").trim() : "Does not stand out.";
    detail.replaceChildren(
      element("div", { className: "bar" }, element("h3", { textContent: data.names[place] }), close),
      element("p", { className: "class-label", textContent: `${label(place)} · ${summary}` }),
      picture(id, data.names[place]),
      element("div", { className: "class-facts" }, valuesTable(place), element("div", {}, ...relatedLists(id))),
    );
    detail.hidden = false;
    drawPoints();
    if (focus) {
      detail.scrollIntoView({ block: "start" });
      detail.focus({ preventScroll: true });
    }
  }

  function closeClass() {
    if (detail.hidden) return;
    history.pushState(null, "", "#classes");
    detail.hidden = true;
    drawPoints();
  }

  /* Addresses: #class-7 opens a class, #scatter=total_awareness,fid the plot of two values. */
  function openAddress() {
    const ofClass = /^#class-(\d+)$/.exec(location.hash);
    if (ofClass) openClass(Number(ofClass[1]), true);
    else if (!detail.hidden) { detail.hidden = true; drawPoints(); }
    const ofScatter = /^#scatter=(\w+),(\w+)$/.exec(location.hash);
    if (ofScatter && valueOf.has(ofScatter[1]) && valueOf.has(ofScatter[2])) openScatter(ofScatter[1], ofScatter[2]);
  }

  /* A logarithmic scale suits values of which a few are much larger than most. */
  function suggestLogarithm() {
    const form = find(".class-plot form");
    form.elements.logarithmic.checked = [form.elements.x.value, form.elements.y.value].some((name) => {
      const known = valueOf.get(name).values.filter((value) => value !== null);
      ranking(valueOf.get(name));
      return known.every((value) => value > 0) && Math.max(...known) > 10 * valueOf.get(name).median;
    });
  }

  function openScatter(x, y) {
    const form = find(".class-plot form");
    form.elements.x.value = x;
    form.elements.y.value = y;
    scatter.open = true;
    suggestLogarithm();
    drawPoints();
    scatter.scrollIntoView({ block: "start" });
    svg.focus({ preventScroll: true });
  }

  const svg = find(".class-plot svg");
  const INSTRUCTIONS = find(".class-point").textContent;
  const axes = { left: 70, right: 700, top: 16, bottom: 370 };
  let points = [];
  let current = -1;

  function svgElement(tag, attributes, text = "") {
    const made = document.createElementNS("http://www.w3.org/2000/svg", tag);
    for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
    made.textContent = text;
    return made;
  }

  function ticks(low, high) {
    const step = 10 ** Math.floor(Math.log10((high - low) / 4));
    const size = [1, 2, 5, 10].map((factor) => factor * step).find((candidate) => (high - low) / candidate <= 5);
    const found = [];
    for (let tick = Math.ceil(low / size) * size; tick <= high + size * 1e-9; tick += size) found.push(Number(tick.toPrecision(12)));
    return found;
  }

  /* 1, 2 and 5 times powers of ten; all of them over few decades, only the powers over many. */
  function logarithmicTicks(low, high) {
    const steps = high / low > 1e3 ? [1] : [1, 2, 5];
    const found = [];
    for (let decade = Math.floor(Math.log10(low)); decade <= Math.log10(high); decade += 1) found.push(...steps.map((step) => step * 10 ** decade));
    const inside = found.filter((tick) => tick >= low && tick <= high);
    return inside.length > 1 ? inside : ticks(low, high);
  }

  function scale(numbers, from, to, logarithmic) {
    const bent = logarithmic && numbers.every((value) => value > 0) ? Math.log10 : (value) => value;
    const marks = bent === Math.log10 ? logarithmicTicks : ticks;
    let low = Math.min(...numbers);
    let high = Math.max(...numbers);
    if (low === high) [low, high] = bent === Math.log10 ? [low / 2, high * 2] : [low - 0.5, high + 0.5];
    const span = bent(high) - bent(low);
    const at = (value) => from + ((bent(value) - bent(low) + 0.04 * span) / (1.08 * span)) * (to - from);
    return { at, ticks: marks(low, high) };
  }

  function drawPoints() {
    if (!scatter.open) return;
    const form = find(".class-plot form");
    const x = valueOf.get(form.elements.x.value);
    const y = valueOf.get(form.elements.y.value);
    const places = data.ids.map((_, place) => place).filter((place) => x.values[place] !== null && y.values[place] !== null);
    svg.replaceChildren();
    find(".class-point").textContent = INSTRUCTIONS;
    points = [];
    current = -1;
    if (!places.length) return;
    const across = scale(places.map((place) => x.values[place]), axes.left, axes.right, form.elements.logarithmic.checked);
    const up = scale(places.map((place) => y.values[place]), axes.bottom, axes.top, form.elements.logarithmic.checked);
    for (const tick of across.ticks) {
      svg.append(svgElement("line", { x1: across.at(tick), x2: across.at(tick), y1: axes.top, y2: axes.bottom, class: "grid" }));
      svg.append(svgElement("text", { x: across.at(tick), y: axes.bottom + 18, "text-anchor": "middle" }, number(tick)));
    }
    for (const tick of up.ticks) {
      svg.append(svgElement("line", { x1: axes.left, x2: axes.right, y1: up.at(tick), y2: up.at(tick), class: "grid" }));
      svg.append(svgElement("text", { x: axes.left - 8, y: up.at(tick) + 4, "text-anchor": "end" }, number(tick)));
    }
    svg.append(svgElement("text", { x: (axes.left + axes.right) / 2, y: 412, "text-anchor": "middle" }, x.heading));
    svg.append(svgElement("text", { x: 16, y: (axes.top + axes.bottom) / 2, "text-anchor": "middle", transform: `rotate(-90 16 ${(axes.top + axes.bottom) / 2})` }, y.heading));
    const open = /^#class-(\d+)$/.exec(location.hash);
    points = places.map((place) => ({ place, x: across.at(x.values[place]), y: up.at(y.values[place]) })).sort((a, b) => a.x - b.x);
    for (const point of points) {
      const id = data.ids[point.place];
      const kind = open && Number(open[1]) === id ? "open" : outliersOf.has(id) ? "outlier" : "";
      point.dot = svgElement("circle", { cx: point.x, cy: point.y, r: total > 200 ? 3 : 5, class: kind });
      svg.append(point.dot);
    }
    for (const point of points.filter(({ dot }) => dot.getAttribute("class"))) svg.append(point.dot);
  }

  function point(index) {
    if (points[current]) points[current].dot.classList.remove("current");
    current = index;
    const { place, dot } = points[current];
    dot.classList.add("current");
    const form = find(".class-plot form");
    const shownValues = [form.elements.x.value, form.elements.y.value].map((name) => `${valueOf.get(name).heading} ${number(valueOf.get(name).values[place])}`);
    find(".class-point").textContent = `${data.names[place]} (${label(place)}): ${shownValues.join(", ")}`;
  }

  function nearest(event) {
    const box = svg.getBoundingClientRect();
    const x = ((event.clientX - box.left) / box.width) * 720;
    const y = ((event.clientY - box.top) / box.height) * 420;
    let best = -1;
    let distance = 20 ** 2;
    points.forEach((candidate, index) => {
      const squared = (candidate.x - x) ** 2 + (candidate.y - y) ** 2;
      if (squared < distance) [best, distance] = [index, squared];
    });
    return best;
  }

  function prepareScatter() {
    if (data.values.length < 2) return;
    const form = find(".class-plot form");
    for (const axis of ["x", "y"]) form.elements[axis].append(...data.values.map((value) => new Option(value.heading, value.name)));
    form.elements.y.selectedIndex = Math.min(4, data.values.length - 1);
    form.addEventListener("change", (event) => { if (event.target.name !== "logarithmic") suggestLogarithm(); drawPoints(); });
    suggestLogarithm();
    scatter.hidden = false;
    scatter.addEventListener("toggle", drawPoints);
    svg.addEventListener("pointermove", (event) => { const index = nearest(event); if (index >= 0) point(index); });
    svg.addEventListener("click", (event) => { const index = nearest(event); if (index >= 0) location.hash = `class-${data.ids[points[index].place]}`; });
    svg.addEventListener("keydown", (event) => {
      const step = { ArrowRight: 1, ArrowUp: 1, ArrowLeft: -1, ArrowDown: -1 }[event.key];
      if (step && points.length) {
        event.preventDefault();
        point((current + step + points.length) % points.length);
      } else if (event.key === "Enter" && points[current]) {
        location.hash = `class-${data.ids[points[current].place]}`;
      }
    });
  }

  const order = tools.elements.order;
  if (outliersOf.size) order.append(new Option("how far they stand out", "outliers"));
  order.append(...data.values.map((value) => new Option(value.heading, value.name)), new Option("index", "index"), new Option("name", "name"));
  setEnds();
  tools.hidden = false;
  const redraw = () => { shown = AT_ONCE; closeClass(); drawCards(); };
  tools.addEventListener("submit", (event) => {
    event.preventDefault();
    const [first] = selected();
    if (first !== undefined) location.hash = `class-${data.ids[first]}`;
  });
  tools.elements.find.addEventListener("input", redraw);
  order.addEventListener("change", () => { setEnds(); redraw(); });
  tools.elements.end.addEventListener("change", redraw);
  more.addEventListener("click", () => { shown += 4 * AT_ONCE; drawCards(); });
  prepareScatter();
  drawCards();
  window.addEventListener("hashchange", openAddress);
  openAddress();
})();
