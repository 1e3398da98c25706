/* Maps of a value of each pair of many classes; their data are made by pair_map.py. */
for (const map of document.querySelectorAll(".pair-map")) {
  const data = JSON.parse(map.querySelector("script").textContent);
  const form = map.querySelector("form");
  const canvas = map.querySelector("canvas");
  const status = map.querySelector(".class-point");
  const n = data.ids.length;
  const SIDE = 900;
  const MOST_NAMED = 45;
  const UNKNOWN = 255;
  const starts = [];
  let next = 0;
  for (const [, size] of data.clusters) { starts.push(next); next += size; }
  const clusterAt = (place) => starts.findLastIndex((start) => start <= place);
  let cursor = null;

  const bytesOf = (layer) => (layer.bytes ||= Uint8Array.from(atob(layer.pairs), (letter) => letter.charCodeAt(0)));
  const layerNow = () => data.layers[form.elements.layer.value];
  const percent = (share) => `${(100 * share).toFixed(1)}%`;

  function value(layer, a, b) {
    if (a === b) return null;
    const [first, second] = a < b ? [a, b] : [b, a];
    const level = bytesOf(layer)[first * n - (first * (first + 1)) / 2 + second - first - 1];
    return level === UNKNOWN ? null : (level / (UNKNOWN - 1)) * layer.high;
  }

  function span(name) {
    const chosen = form.elements[name].value;
    return chosen === "all" ? [0, n] : [starts[chosen], starts[chosen] + data.clusters[chosen][1]];
  }

  const colour = (role) => getComputedStyle(document.documentElement).getPropertyValue(`--${role}`).trim();
  const channels = (hex) => [1, 3, 5].map((at) => parseInt(hex.slice(at, at + 2), 16));

  function cells(layer, rows, columns) {
    const [height, width] = [rows[1] - rows[0], columns[1] - columns[0]];
    const picture = new ImageData(width, height);
    const ink = channels(colour("blue"));
    const paper = channels(colour("card"));
    for (let y = 0; y < height; y += 1) {
      for (let x = 0; x < width; x += 1) {
        const shared = value(layer, rows[0] + y, columns[0] + x);
        const share = shared === null ? 0 : Math.max(0, (shared - layer.chance) / (layer.high - layer.chance));
        const at = 4 * (y * width + x);
        for (let part = 0; part < 3; part += 1) picture.data[at + part] = paper[part] + share * (ink[part] - paper[part]);
        picture.data[at + 3] = 255;
      }
    }
    return picture;
  }

  function frame(rows, columns) {
    const [height, width] = [rows[1] - rows[0], columns[1] - columns[0]];
    const named = Math.max(height, width) <= MOST_NAMED;
    const margin = named ? 190 : 10;
    return { named, margin, size: (SIDE - margin - 10) / Math.max(height, width) };
  }

  function draw() {
    const [rows, columns] = [span("rows"), span("columns")];
    const { named, margin, size } = frame(rows, columns);
    const context = canvas.getContext("2d");
    context.fillStyle = colour("card");
    context.fillRect(0, 0, SIDE, SIDE);
    const picture = cells(layerNow(), rows, columns);
    const small = new OffscreenCanvas(picture.width, picture.height);
    small.getContext("2d").putImageData(picture, 0, 0);
    context.imageSmoothingEnabled = size < 1;
    context.drawImage(small, margin, margin, size * picture.width, size * picture.height);
    drawBorders(context, rows, columns, margin, size);
    if (named) drawNames(context, rows, columns, margin, size);
    if (cursor) {
      const edge = Math.max(size, 6);
      context.strokeStyle = colour("red");
      context.lineWidth = 2;
      context.strokeRect(margin + (cursor[1] - columns[0] + 0.5) * size - edge / 2, margin + (cursor[0] - rows[0] + 0.5) * size - edge / 2, edge, edge);
    }
  }

  function drawBorders(context, rows, columns, margin, size) {
    const [bottom, right] = [margin + (rows[1] - rows[0]) * size, margin + (columns[1] - columns[0]) * size];
    context.strokeStyle = colour("rule");
    context.lineWidth = 1;
    context.beginPath();
    for (const start of [...starts, n]) {
      const [y, x] = [margin + (start - rows[0]) * size, margin + (start - columns[0]) * size];
      if (start >= rows[0] && start <= rows[1]) { context.moveTo(margin, y); context.lineTo(right, y); }
      if (start >= columns[0] && start <= columns[1]) { context.moveTo(x, margin); context.lineTo(x, bottom); }
    }
    context.stroke();
  }

  function drawNames(context, rows, columns, margin, size) {
    const room = margin - 12;
    context.fillStyle = colour("ink");
    context.font = `${Math.min(18, Math.max(11, 0.8 * size))}px system-ui, sans-serif`;
    context.textBaseline = "middle";
    context.textAlign = "right";
    for (let row = rows[0]; row < rows[1]; row += 1) context.fillText(data.names[row], margin - 8, margin + (row - rows[0] + 0.5) * size, room);
    context.textAlign = "left";
    for (let column = columns[0]; column < columns[1]; column += 1) {
      context.save();
      context.translate(margin + (column - columns[0] + 0.5) * size, margin - 8);
      context.rotate(-Math.PI / 2);
      context.fillText(data.names[column], 0, 0, room);
      context.restore();
    }
  }

  function say() {
    const layer = layerNow();
    if (!cursor) {
      status.textContent = `Point at a cell, or use the arrow keys, to see which classes it belongs to; click to zoom in. Colour starts above ${percent(layer.chance)}, the level expected by chance.`;
      return;
    }
    const [a, b] = cursor;
    const shared = value(layer, a, b);
    const words = a === b ? "the same class" : shared === null ? "unknown" : `${percent(shared)} (${percent(layer.chance)} by chance)`;
    const [first, second] = [data.clusters[clusterAt(a)][0], data.clusters[clusterAt(b)][0]];
    status.textContent = `${data.names[a]} and ${data.names[b]}: ${words}. ${first === second ? `Both in the cluster ${first}` : `Clusters: ${first} and ${second}`}.`;
  }

  function show(place) {
    cursor = place;
    draw();
    say();
  }

  function move(row, column) {
    const within = (place, [low, high]) => Math.max(low, Math.min(high - 1, place));
    show([within(row, span("rows")), within(column, span("columns"))]);
  }

  function cellAt(event) {
    const [rows, columns] = [span("rows"), span("columns")];
    const { margin, size } = frame(rows, columns);
    const box = canvas.getBoundingClientRect();
    const row = rows[0] + Math.floor((((event.clientY - box.top) / box.height) * SIDE - margin) / size);
    const column = columns[0] + Math.floor((((event.clientX - box.left) / box.width) * SIDE - margin) / size);
    return row >= rows[0] && row < rows[1] && column >= columns[0] && column < columns[1] ? [row, column] : null;
  }

  function enter() {
    if (!cursor) return;
    if (form.elements.rows.value === "all" || form.elements.columns.value === "all") {
      form.elements.rows.value = clusterAt(cursor[0]);
      form.elements.columns.value = clusterAt(cursor[1]);
      show(cursor);
    } else {
      location.hash = `class-${data.ids[cursor[0]]}`;
    }
  }

  form.elements.layer.append(...data.layers.map((layer, place) => new Option(layer.heading, place)));
  for (const name of ["rows", "columns"]) {
    const options = data.clusters.map(([cluster, size], place) => new Option(`${cluster} (${size})`, place));
    form.elements[name].append(new Option(`all ${n.toLocaleString("en-US")} classes`, "all"), ...options);
  }
  form.addEventListener("submit", (event) => event.preventDefault());
  form.addEventListener("change", () => show(null));
  canvas.addEventListener("pointermove", (event) => { const cell = cellAt(event); if (cell) move(...cell); });
  canvas.addEventListener("click", (event) => { const cell = cellAt(event); if (cell) { move(...cell); enter(); } });
  canvas.addEventListener("keydown", (event) => {
    const step = { ArrowDown: [1, 0], ArrowUp: [-1, 0], ArrowRight: [0, 1], ArrowLeft: [0, -1] }[event.key];
    if (step) {
      event.preventDefault();
      const [row, column] = cursor || [span("rows")[0] - step[0], span("columns")[0] - step[1]];
      move(row + step[0], column + step[1]);
    } else if (event.key === "Enter") {
      enter();
    } else if (event.key === "Escape") {
      form.elements.rows.value = "all";
      form.elements.columns.value = "all";
      show(null);
    }
  });
  document.getElementById("theme").addEventListener("click", draw);
  map.hidden = false;
  say();
  new IntersectionObserver((entries, observer) => {
    if (entries.some((entry) => entry.isIntersecting)) { observer.disconnect(); draw(); }
  }).observe(canvas);
}
