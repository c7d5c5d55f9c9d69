"use strict";
(() => {
  // a pair is [image, observation, probability, completeness error, agreement, foreground share, IoU with the ground truth]
  const [IMAGE, OBSERVATION, PROBABILITY, COMPLETENESS, AGREEMENT, SHARE, IOU] = [0, 1, 2, 3, 4, 5, 6];
  const MEASURES = {
    iou: { place: IOU, worst: 1, name: "IoU" },
    agreement: { place: AGREEMENT, worst: 1, name: "agreement" },
    completeness: { place: COMPLETENESS, worst: -1, name: "completeness error" },
    probability: { place: PROBABILITY, worst: 1, name: "probability" },
  };
  const LABEL = [230, 159, 0], TRUTH = [86, 180, 233];
  const VIRIDIS = [[68, 1, 84], [59, 82, 139], [33, 145, 140], [94, 201, 98], [253, 231, 37]];
  const LONGER_SIDE = 480, STRIPE = 8, KEPT_IMAGES = 60;

  const $ = (id) => document.getElementById(id);
  const { members, images, pairs } = JSON.parse($("label-data").textContent);
  const sources = ["label", "mean map", ...members];
  const loaded = new Map();
  let shown = [], place = 0, drawing = 0;

  const picture = (kind, text) => {
    const image = new Image();
    image.src = `data:image/${kind};base64,${text}`;
    return image.decode().then(() => image);
  };

  /* The pictures of an image; only those looked at last are kept. */
  const load = (number) => {
    if (!loaded.has(number)) {
      const image = images[number], none = Promise.resolve(null);
      loaded.set(number, Promise.all([
        picture("jpeg", image.image), picture("png", image.label),
        image.truth ? picture("png", image.truth) : none, image.maps ? picture("png", image.maps) : none,
      ]));
      if (loaded.size > KEPT_IMAGES) loaded.delete(loaded.keys().next().value);
    }
    return loaded.get(number);
  };

  const canvasOf = (width, height) => Object.assign(document.createElement("canvas"), { width, height });

  /* Grey values of one tile of a sheet, enlarged to the canvas. */
  const tile = (sheet, row, rows, column, columns, width, height, smooth) => {
    const context = canvasOf(width, height).getContext("2d", { willReadFrequently: true });
    const w = sheet.naturalWidth / columns, h = sheet.naturalHeight / rows;
    context.imageSmoothingEnabled = smooth;
    context.imageSmoothingQuality = "high";
    context.drawImage(sheet, column * w, row * h, w, h, 0, 0, width, height);
    return context.getImageData(0, 0, width, height).data;
  };

  const mixed = (pixels, at, color, share) => {
    for (let c = 0; c < 3; c++) pixels[at + c] += share * (color[c] - pixels[at + c]);
  };

  const isEdge = (inside, x, y, width, height) => {
    const at = y * width + x;
    return inside[at] && (x < 2 || y < 2 || x >= width - 2 || y >= height - 2
      || !inside[at - 2] || !inside[at + 2] || !inside[at - 2 * width] || !inside[at + 2 * width]);
  };

  const paint = (pixels, width, height, inside, color, fill, edge) => {
    for (let y = 0, at = 0; y < height; y++) for (let x = 0; x < width; x++, at++) {
      if (!inside[at]) continue;
      mixed(pixels, 4 * at, color, isEdge(inside, x, y, width, height) ? edge : fill);
    }
  };

  const paintLabel = (pixels, values, width, height, opacity) => {
    const inside = new Uint8Array(width * height);
    for (let at = 0; at < inside.length; at++) {
      const value = values[4 * at];
      inside[at] = value > 191 ? 1 : 0;
      const stripe = (at % width + Math.floor(at / width)) % STRIPE < 2;
      if (value > 64 && value <= 191 && stripe) mixed(pixels, 4 * at, LABEL, opacity);
    }
    paint(pixels, width, height, inside, LABEL, 0.7 * opacity, opacity);
  };

  const paintMap = (pixels, values, opacity) => {
    for (let at = 0; at < values.length; at += 4) {
      const value = values[at] / 255, step = value * (VIRIDIS.length - 1);
      const low = Math.min(Math.floor(step), VIRIDIS.length - 2), rest = step - low;
      const color = VIRIDIS[low].map((channel, c) => channel + rest * (VIRIDIS[low + 1][c] - channel));
      mixed(pixels, at, color, opacity * Math.min(1, 0.15 + value));
    }
  };

  const figure = (value, digits) => (value === null ? "–" : value.toFixed(digits));
  const sourceNumber = () => Number(document.querySelector("input[name=source]:checked").value);

  const describe = (pair, image, source) => {
    const facts = $("facts"), parts = [
      `probability ${figure(pair[PROBABILITY], 2)}`, `completeness error ${figure(pair[COMPLETENESS], 3)}`,
      `agreement of the members ${figure(pair[AGREEMENT], 2)}`, `label ${figure(100 * pair[SHARE], 0)} % of the image`,
    ];
    if (pair[IOU] !== null) parts.push(`IoU with the ground truth ${figure(pair[IOU], 3)}`);
    const name = document.createElement("b");
    name.textContent = pair[OBSERVATION];
    facts.replaceChildren(name, `, ${image.name}${image.section ? ` (${image.section})` : ""}`, document.createElement("br"),
      parts.join(" · "));
    const known = image.known.includes(pair[OBSERVATION]);
    $("plain").setAttribute("aria-label", `Radiograph ${image.name}`);
    $("overlay").setAttribute("aria-label",
      `The same with ${source} of ${pair[OBSERVATION]}${known ? ", its ground truth outlined" : ""}; ${parts.join(", ")}`);
  };

  const draw = async () => {
    const ticket = ++drawing, pair = shown[place], empty = pair === undefined;
    $("position").textContent = empty ? "none" : `${place + 1} of ${shown.length}`;
    if (empty) {
      $("facts").textContent = "No pair is left; take a larger share or another observation.";
      for (const id of ["plain", "overlay"]) $(id).getContext("2d").clearRect(0, 0, $(id).width, $(id).height);
      return;
    }
    const image = images[pair[IMAGE]], [plain, label, truth, maps] = await load(pair[IMAGE]);
    if (ticket !== drawing) return; // another pair was asked for meanwhile
    const scale = LONGER_SIDE / Math.max(plain.naturalWidth, plain.naturalHeight);
    const width = Math.round(plain.naturalWidth * scale), height = Math.round(plain.naturalHeight * scale);
    for (const id of ["plain", "overlay"]) {
      Object.assign($(id), { width, height });
      $(id).getContext("2d").drawImage(plain, 0, 0, width, height);
    }
    const context = $("overlay").getContext("2d"), frame = context.getImageData(0, 0, width, height);
    const opacity = $("opacity").value / 100, source = sourceNumber();
    const row = image.rows.indexOf(pair[OBSERVATION]), hasMap = maps !== null && row >= 0;
    if (source === 0 || !hasMap) {
      const observations = pairs.filter((other) => other[IMAGE] === pair[IMAGE]).map((other) => other[OBSERVATION]);
      const values = tile(label, observations.indexOf(pair[OBSERVATION]), observations.length, 0, 1, width, height, false);
      paintLabel(frame.data, values, width, height, opacity);
    } else {
      const values = tile(maps, row, image.rows.length, source - 1, members.length + 1, width, height, true);
      paintMap(frame.data, values, opacity);
    }
    const known = image.known.indexOf(pair[OBSERVATION]);
    if (truth !== null && known >= 0 && $("truth") && $("truth").checked) {
      const values = tile(truth, known, image.known.length, 0, 1, width, height, true);
      const inside = Uint8Array.from({ length: width * height }, (_, at) => (values[4 * at] > 127 ? 1 : 0));
      paint(frame.data, width, height, inside, TRUTH, 0, 1);
    }
    context.putImageData(frame, 0, 0);
    for (const input of document.querySelectorAll("input[name=source]")) input.disabled = input.value !== "0" && !hasMap;
    describe(pair, image, hasMap ? sources[source] : sources[0]);
    if (place + 1 < shown.length) load(shown[place + 1][IMAGE]);
  };

  /* Choose and order the pairs anew; start with the worst. */
  const choose = () => {
    const { place: column, worst, name } = MEASURES[$("measure").value], observation = $("observation").value;
    const only = $("known") !== null && $("known").checked;
    const chosen = pairs.filter((pair) => (!observation || pair[OBSERVATION] === observation) && (!only || pair[IOU] !== null));
    const measured = chosen.filter((pair) => pair[column] !== null).sort((a, b) => worst * (a[column] - b[column]));
    const kept = measured.slice(0, Math.max(1, Math.ceil(measured.length * $("kept").value / 100)));
    const all = $("kept").value === "100", last = kept.at(-1);
    shown = all ? [...kept, ...chosen.filter((pair) => pair[column] === null)] : kept;
    $("kept-text").textContent = `${$("kept").value} %` + (last ? `, ${name} ${figure(kept[0][column], 3)} to ${figure(last[column], 3)}` : "");
    place = 0;
    draw();
  };

  const step = (by) => {
    place = Math.min(Math.max(place + by, 0), Math.max(shown.length - 1, 0));
    draw();
  };

  const setOpacity = (value) => {
    $("opacity").value = value;
    $("opacity-text").textContent = `${$("opacity").value} %`;
    draw();
  };

  const setSource = (number) => {
    const input = document.querySelector(`input[name=source][value="${number}"]`);
    if (input !== null && !input.disabled) {
      input.checked = true;
      draw();
    }
  };

  const KEYS = {
    ArrowRight: () => step(1), ArrowLeft: () => step(-1), Home: () => step(-Infinity), End: () => step(Infinity),
    "+": () => setOpacity(Number($("opacity").value) + 10), "-": () => setOpacity(Number($("opacity").value) - 10),
    t: () => $("truth") && $("truth").click(),
  };

  /* Keys count while the browser is in sight, and where no control of its own wants them. */
  const onKey = (event) => {
    const box = $("label-browser").getBoundingClientRect(), target = event.target;
    const busy = target instanceof HTMLSelectElement || (target instanceof HTMLInputElement && target.type !== "checkbox");
    if (busy || event.ctrlKey || event.metaKey || event.altKey || box.bottom < 0 || box.top > window.innerHeight) return;
    const action = KEYS[event.key] || (/^[1-9]$/.test(event.key) ? () => setSource(Number(event.key) - 1) : null);
    if (action === null) return;
    event.preventDefault();
    action();
  };

  for (const [number, name] of sources.entries()) {
    const label = document.createElement("label"), input = document.createElement("input");
    Object.assign(input, { type: "radio", name: "source", value: number, checked: number === 0 });
    label.append(input, ` ${name}`);
    $("sources").append(label);
  }
  for (const id of ["observation", "measure", "kept", "known"]) $(id)?.addEventListener("input", choose);
  $("sources").addEventListener("input", draw);
  $("truth")?.addEventListener("input", draw);
  $("opacity").addEventListener("input", () => setOpacity($("opacity").value));
  $("previous").addEventListener("click", () => step(-1));
  $("next").addEventListener("click", () => step(1));
  $("controls").addEventListener("submit", (event) => event.preventDefault());
  // after a click the arrow keys step again; who came by keyboard keeps the control
  $("controls").addEventListener("click", (event) => {
    if (event.detail > 0 && event.target instanceof HTMLInputElement) event.target.blur();
  });
  document.addEventListener("keydown", onKey);
  $("label-browser").hidden = false;
  $("opacity-text").textContent = `${$("opacity").value} %`;
  choose();
})();
