"use strict";
// The state of a page is its address: #key=value&key=value. A link changes it, and what depends on it is drawn again.
// Nothing here writes HTML: every text of the data goes through textContent.

// --- chunks of data

const CHUNKS = new Map();
const WAITING = new Map();

function chunk(name, value) {
  CHUNKS.set(name, value);
  (WAITING.get(name) || []).forEach(({ resolve }) => resolve(value));
  WAITING.delete(name);
}

function load(name) {
  if (CHUNKS.has(name)) return Promise.resolve(CHUNKS.get(name));
  const inlined = document.getElementById(`chunk-${name}`);
  if (inlined) {
    chunk(name, JSON.parse(inlined.textContent));
    return Promise.resolve(CHUNKS.get(name));
  }
  return new Promise((resolve, reject) => {
    const waiting = WAITING.get(name);
    if (waiting) return waiting.push({ resolve, reject });
    WAITING.set(name, [{ resolve, reject }]);
    const script = document.createElement("script");
    script.src = `${document.body.dataset.chunks}/${name}.js`;
    script.onerror = () => {
      (WAITING.get(name) || []).forEach((other) => other.reject(new Error(`${script.src} is missing`)));
      WAITING.delete(name);
    };
    document.head.append(script);
  });
}

// --- elements

function el(tag, attributes = {}, ...children) {
  const element = document.createElement(tag);
  for (const [key, value] of Object.entries(attributes)) {
    if (value === undefined || value === null || value === false) continue;
    if (key.startsWith("on")) element.addEventListener(key.slice(2), value);
    else element.setAttribute(key, value === true ? "" : value);
  }
  element.append(...children.flat().filter((child) => child !== null && child !== undefined && child !== false));
  return element;
}

const bdi = (text) => el("bdi", {}, text);
const count = (number, one, many) => `${number.toLocaleString("en")} ${number === 1 ? one : many}`;

// --- state

const state = () => new URLSearchParams(location.hash.slice(1));

function link(changes) {
  const next = state();
  for (const [key, value] of Object.entries(changes)) {
    if (value === null || value === "") next.delete(key);
    else next.set(key, value);
  }
  return `#${next}`;
}

function go(changes, { replace = false } = {}) {
  const address = link(changes);
  if (replace) {
    history.replaceState(null, "", address);
    draw();
  } else location.hash = address;
}

// --- items

let ITEMS = null; // what the page knows of the items: their count, chunk size, index and the pictures' shape

async function item(number) {
  const part = await load(`items-${Math.floor(number / ITEMS.chunk)}`);
  const place = number % ITEMS.chunk;
  return {
    number,
    token: part.tokens[place],
    title: part.titles[place],
    facts: part.facts[place],
    picture: part.pictures[place],
    count: part.counts ? part.counts[place] : null,
  };
}

const nameOf = (found) => found.title || found.token;

function photo(found) {
  if (!found.picture) return el("span", { class: "photo none" }, "no picture");
  const image = el("img", { src: found.picture, alt: "", loading: "lazy", decoding: "async" });
  const frame = el("span", { class: "photo" }, image);
  image.addEventListener("error", () => frame.replaceWith(el("span", { class: "photo none" }, "no picture")));
  return frame;
}

function card(found, { note = null, small = false, mark = "" } = {}) {
  return el(
    "a",
    { class: `card${small ? " small" : ""}${mark ? ` ${mark}` : ""}`, href: link({ item: found.number }), title: nameOf(found) },
    photo(found),
    el("span", { class: "card-title" }, bdi(nameOf(found))),
    note === null ? null : el("span", { class: "card-note" }, note),
  );
}

async function cards(numbers, options = () => ({})) {
  const found = await Promise.all(numbers.map(item));
  return found.map((one, place) => card(one, options(one, place)));
}

async function strip(numbers, options) {
  const inner = (await cards(numbers, options)).map((one) => el("li", {}, one));
  return el("ul", { class: "strip", tabindex: "0", "aria-label": "items, scrolls sideways" }, inner);
}

// --- search

const plain = (text) => text.toLowerCase().normalize("NFKD").replace(/\p{M}/gu, "");
const wordsOf = (text) => plain(text).match(/[\p{L}\p{N}_]+/gu) || [];

async function search(query) {
  // the items that have, for every word of the query, a word that begins with it; null: no query
  const words = wordsOf(query);
  if (!words.length) return null;
  let result = null;
  for (const word of words) {
    const shard = [...word].slice(0, 2).map((letter) => letter.codePointAt(0).toString(16)).join("-");
    const shards = ITEMS.shards.filter((name) => name === shard || ([...word].length === 1 && name.startsWith(`${shard}-`)));
    const numbers = new Set();
    for (const part of await Promise.all(shards.map((name) => load(`search-${name}`)))) {
      for (const [entry, found] of Object.entries(part)) {
        if (entry.startsWith(word)) found.forEach((number) => numbers.add(number));
      }
    }
    result = result === null ? numbers : new Set([...result].filter((number) => numbers.has(number)));
  }
  return [...result].sort((one, other) => one - other);
}

// --- views: name -> function(element, configuration) that returns a function to draw it again

const VIEWS = {};
const PER_PAGE = 28;

function pager(total, page, key, per = PER_PAGE) {
  const pages = Math.max(1, Math.ceil(total / per));
  const step = (to, text) =>
    el("button", { type: "button", disabled: to < 1 || to > pages, onclick: () => go({ [key]: to === 1 ? null : to }) }, text);
  if (pages === 1) return null;
  return el(
    "div",
    { class: "pager", role: "group", "aria-label": "Pages of the list" },
    step(page - 1, "Previous"),
    el("span", {}, `${page.toLocaleString("en")} of ${pages.toLocaleString("en")}`),
    step(page + 1, "Next"),
  );
}

VIEWS.items = (element) => {
  const input = el("input", { type: "search", placeholder: "Search titles, ids and facts", "aria-label": "Search items", autocomplete: "off" });
  const status = el("p", { class: "hint", role: "status" });
  const grid = el("ul", { class: "grid" });
  const pages = el("div");
  let timer = null;
  input.addEventListener("input", () => {
    clearTimeout(timer);
    timer = setTimeout(() => go({ q: input.value.trim(), p: null }, { replace: true }), 150);
  });
  element.append(el("div", { class: "search" }, input, status), grid, pages);
  return async (now) => {
    const query = now.get("q") || "";
    if (document.activeElement !== input) input.value = query;
    const found = await search(query);
    const total = found === null ? ITEMS.count : found.length;
    const page = Math.min(Math.max(1, Number(now.get("p")) || 1), Math.max(1, Math.ceil(total / PER_PAGE)));
    const start = (page - 1) * PER_PAGE;
    const numbers = found === null
      ? Array.from({ length: Math.min(PER_PAGE, total - start) }, (_, place) => start + place)
      : found.slice(start, start + PER_PAGE);
    status.textContent = total ? count(total, "item", "items") : `No item has “${query}”.`;
    const inner = await cards(numbers, (one) => ({ note: one.count === null ? one.token : `taken ${one.count.toLocaleString("en")} times` }));
    grid.replaceChildren(...inner.map((one) => el("li", {}, one)));
    pages.replaceChildren(...[pager(total, page, "p")].filter(Boolean));
  };
};

VIEWS.strip = (element, config) => {
  const more = config.total - config.numbers.length;
  let drawn = false;
  return async () => {
    if (drawn) return;
    drawn = true;
    element.append(await strip(config.numbers.slice(0, 60), () => ({ small: true })));
    if (more > 0 || config.numbers.length > 60) {
      element.append(el("p", { class: "hint" }, `The ${Math.min(60, config.numbers.length)} most popular of ${config.total.toLocaleString("en")} are shown.`));
    }
  };
};

VIEWS.pairs = (element, config) => {
  let drawn = false;
  return async () => {
    if (drawn) return;
    drawn = true;
    const list = await Promise.all(
      config.pairs.slice(0, 24).map(async ([one, other, cosine]) =>
        el(
          "li",
          { class: "pair" },
          el("div", { class: "pair-items" }, await cards([one, other])),
          el("p", { class: "pair-note" }, cosine > 0.99995 ? "equal vectors" : `cosine ${cosine.toFixed(3)}`),
        ),
      ),
    );
    element.append(el("ul", { class: "pairs" }, list));
    if (config.pairs.length > 24) element.append(el("p", { class: "hint" }, `The 24 most alike of ${config.pairs.length} pairs.`));
  };
};

VIEWS.groups = (element, config) => {
  const per = 12;
  const list = el("ul", { class: "pairs" });
  const pages = el("div");
  element.append(list, pages);
  return async (now) => {
    const page = Math.max(1, Number(now.get("g")) || 1);
    const part = config.groups.slice((page - 1) * per, page * per);
    const inner = await Promise.all(
      part.map(async (numbers) =>
        el("li", { class: "pair" }, await strip(numbers.slice(0, 12), () => ({ small: true })), el("p", { class: "pair-note" }, count(numbers.length, "item", "items"))),
      ),
    );
    list.replaceChildren(...inner);
    pages.replaceChildren(...[pager(config.groups.length, page, "g", per)].filter(Boolean));
  };
};

const chipClass = (digit) => `chip ${digit.kind === "dedup" ? "dedup" : ["text", "image"].includes(digit.modality) ? digit.modality : ""}`;

function entropy(counts) {
  const total = counts.reduce((sum, one) => sum + one, 0);
  return counts.reduce((sum, one) => sum - (one / total) * Math.log2(one / total), 0);
}

VIEWS.tree = (element, config) => {
  const table = config.table;
  const path = el("ol", { class: "path", "aria-label": "Chosen prefix" });
  const summary = el("p", { class: "hint", role: "status" });
  const list = el("ul", { class: "branches" });
  const grid = el("ul", { class: "grid" });
  const pages = el("div");
  element.append(path, summary, list, grid, pages);

  async function branchesBelow(tree, prefix) {
    if (!prefix.length) return tree.root;
    const part = await load(`branch-${table}-${prefix[0]}`).catch(() => null);
    const groups = new Map();
    if (part) {
      part.codes.forEach((codes, place) => {
        if (!prefix.slice(1).every((code, depth) => codes[depth] === code)) return;
        const code = codes[prefix.length - 1];
        const entry = groups.get(code) || { code, count: 0, samples: [], items: [], words: "" };
        entry.count += 1;
        entry.items.push(part.items[place]);
        if (entry.samples.length < 6) entry.samples.push(part.items[place]);
        groups.set(code, entry);
      });
      if (prefix.length === 1) groups.forEach((entry) => { entry.words = part.words[entry.code] || ""; });
    }
    return [...groups.values()].sort((one, other) => other.count - one.count || one.code - other.code);
  }

  return async (now) => {
    if (Number(now.get("table") || 0) !== table) return;
    const tree = await load(`tree-${table}`);
    let prefix = (now.get("prefix") || "").split(".").filter(Boolean).map(Number).slice(0, tree.digits.length);
    let branches = prefix.length < tree.digits.length ? await branchesBelow(tree, prefix) : [];
    const total = branches.reduce((sum, one) => sum + one.count, 0);
    const steps = [el("li", {}, el("a", { href: link({ prefix: null, t: null }) }, "All items"))];
    prefix.forEach((code, depth) => {
      const digit = tree.digits[depth];
      steps.push(
        el("li", { class: "sep", "aria-hidden": "true" }, "›"),
        el("li", {}, el("a", { class: chipClass(digit), href: link({ prefix: prefix.slice(0, depth + 1).join("."), t: null }), title: digit.name, "aria-label": `${digit.name}: ${code}` }, String(code))),
      );
    });
    path.replaceChildren(...steps);
    const next = tree.digits[prefix.length];
    if (!total) {
      summary.textContent = "No item has this prefix.";
      [list, grid, pages].forEach((part) => part.replaceChildren());
      return;
    }
    const bits = entropy(branches.map((one) => one.count));
    summary.textContent = `${count(total, "item", "items")}; next digit ${next.name}: ${branches.length} of ${next.size.toLocaleString("en")} codes used, entropy ${bits.toFixed(2)} bits`;
    const page = Math.max(1, Number(now.get("t")) || 1);
    const small = prefix.length > 0 && total <= 24;
    if (small || prefix.length === tree.digits.length - 1) {
      const numbers = branches.flatMap((one) => one.items);
      const codes = new Map(branches.flatMap((one) => one.items.map((number) => [number, one.code])));
      const part = numbers.slice((page - 1) * PER_PAGE, page * PER_PAGE);
      const inner = await cards(part, (one) => ({ note: `${next.name}: ${codes.get(one.number)}` }));
      list.replaceChildren();
      grid.replaceChildren(...inner.map((one) => el("li", {}, one)));
      pages.replaceChildren(...[pager(numbers.length, page, "t")].filter(Boolean));
      return;
    }
    const most = branches[0].count;
    const part = branches.slice((page - 1) * PER_PAGE, page * PER_PAGE);
    const rows = await Promise.all(
      part.map(async (branch) => {
        const photos = (await Promise.all(branch.samples.slice(0, 6).map(item))).map(photo);
        const chip = el("span", { class: chipClass(next) }, String(branch.code));
        const words = branch.words || (await Promise.all(branch.samples.slice(0, 2).map(item))).map(nameOf).join(", ");
        return el(
          "li",
          {},
          el(
            "a",
            { class: "branch", href: link({ prefix: [...prefix, branch.code].join("."), t: null }) },
            el("span", {}, chip),
            el(
              "span",
              { class: "branch-words" },
              bdi(words),
              el("span", { class: "branch-count" }, ` ${count(branch.count, "item", "items")}`),
              el("span", { class: `branch-bar ${chipClass(next).replace("chip ", "")}`, style: `width:${(100 * branch.count) / most}%` }),
            ),
            el("span", { class: "branch-photos", "aria-hidden": "true" }, photos),
          ),
        );
      }),
    );
    list.replaceChildren(...rows);
    grid.replaceChildren();
    pages.replaceChildren(...[pager(branches.length, page, "t")].filter(Boolean));
  };
};

// --- users

const USERS_PER_PAGE = 4;

function select(name, key, choices, now) {
  const box = el("select", { "aria-label": name, onchange: (event) => go({ [key]: event.target.value, u: null }) },
    choices.map(([value, text]) => el("option", { value, selected: (now.get(key) || "") === value }, text)));
  return el("label", {}, name, box);
}

VIEWS.users = (element, config) => {
  const filters = el("form", { class: "filters", onsubmit: (event) => event.preventDefault() });
  const input = el("input", { type: "search", placeholder: "beginning of an id", autocomplete: "off" });
  let timer = null;
  input.addEventListener("input", () => {
    clearTimeout(timer);
    timer = setTimeout(() => go({ user: input.value.trim(), u: null }, { replace: true }), 150);
  });
  const userLabel = el("label", {}, "User", input);
  const status = el("p", { class: "hint", role: "status" });
  const list = el("div");
  const pages = el("div");
  element.append(filters, status, list, pages);
  const rows = config.rows.map((label, place) => [String(place), label]);

  return async (now) => {
    const index = await load("users");
    if (!filters.contains(document.activeElement) || document.activeElement.tagName === "SELECT") {
      const controls = [
        select("Found by", "found", [["", "anybody or nobody"], ...rows], now),
        select("Not found by", "missed", [["", "–"], ...rows], now),
        select("Target", "kind", [["", "all"], ["new", "new to the user"], ["repeated", "in the history"]], now),
      ];
      const focused = [...filters.children].indexOf(document.activeElement.closest("label"));
      input.value = now.get("user") || "";
      filters.replaceChildren(...controls, userLabel);
      if (focused >= 0) filters.children[focused].querySelector("select, input").focus();
    }
    const hit = (row, place) => index.ranks[row][place] > 0 && index.ranks[row][place] <= config.cut;
    const chosen = index.users.map((_, place) => place).filter((place) => {
      const found = now.get("found");
      const missed = now.get("missed");
      if (found && !hit(Number(found), place)) return false;
      if (missed && hit(Number(missed), place)) return false;
      if (now.get("kind") && (now.get("kind") === "repeated") !== index.repeated[place]) return false;
      return !now.get("user") || index.users[place].startsWith(now.get("user"));
    });
    status.textContent = chosen.length ? count(chosen.length, "user", "users") : "No user is like that.";
    const page = Math.min(Math.max(1, Number(now.get("u")) || 1), Math.max(1, Math.ceil(chosen.length / USERS_PER_PAGE)));
    const part = chosen.slice((page - 1) * USERS_PER_PAGE, page * USERS_PER_PAGE);
    list.replaceChildren(...(await Promise.all(part.map((place) => oneUser(index, place, config)))));
    pages.replaceChildren(...[pager(chosen.length, page, "u", USERS_PER_PAGE)].filter(Boolean));
  };
};

function marked(found, { seen = false, target = false, note = null } = {}) {
  const one = card(found, { small: true, note, mark: `${seen ? "seen" : ""} ${target ? "target" : ""}`.trim() });
  if (target) one.prepend(el("span", { class: "mark target-mark badge" }, "target"));
  else if (seen) one.prepend(el("span", { class: "mark seen-mark badge" }, "seen"));
  return one;
}

async function oneUser(index, place, config) {
  const own = (await load(`lists-${Math.floor(place / config.per_chunk)}`))[place % config.per_chunk];
  const target = index.targets[place];
  const seen = new Set(own.seen);
  const left = own.length - own.history.length;
  const shown = [...own.history].reverse();
  const history = await strip(shown, (_, nth) => ({ small: true, note: nth === 0 ? "last" : null }));
  history.setAttribute("aria-label", "History, the last item first");
  const head = el(
    "div",
    { class: "user-head" },
    el("div", { style: "min-width:0" }, el("h3", {}, `History, ${count(own.length, "item", "items")}, the last first${left > 0 ? ` (${left} earlier ones not shown)` : ""}`), history),
    el("div", { class: "user-target" }, el("h3", {}, "Target"), marked(await item(target), { target: true })),
  );
  const lists = await Promise.all(config.rows.map(async (label, row) => {
    const rank = index.ranks[row][place];
    const verdict = rank ? `target at place ${rank}` : `target not among the first ${config.deepest}`;
    const found = rank > 0 && rank <= config.cut;
    const title = el("h3", {}, bdi(label), el("span", { class: `verdict${found ? " found" : ""}` }, verdict));
    const list = own.lists[row];
    if (!list) return el("div", { class: "list-row" }, title, el("p", { class: "empty" }, "This run cannot be asked for lists here; only its rank is known."));
    const items = await Promise.all(list.items.map(item));
    const inner = items.map((one, nth) => el("li", {}, marked(one, { seen: seen.has(one.number), target: one.number === target, note: placeNote(list, nth) })));
    const strip = el("ol", { class: "strip", tabindex: "0", "aria-label": `List of ${label}` }, inner);
    const details = el("details", {}, el("summary", {}, "How this list came about"));
    details.addEventListener("toggle", async () => {
      if (details.open && details.children.length === 1) details.append(...(await beamTree(list, config.digits[row], target)));
    });
    return el("div", { class: "list-row" }, title, strip, list.levels.length ? details : null);
  }));
  return el("article", { class: "user" }, el("h2", {}, "User ", bdi(index.users[place])), head, lists);
}

function percent(share) {
  if (share >= 0.1) return `${(100 * share).toFixed(0)} %`;
  if (share >= 0.001) return `${(100 * share).toFixed(1)} %`;
  return share === 0 ? "0 %" : "< 0.1 %";
}

const NO_TARGET = -2;
const signed = (value) => (Math.abs(value) < 0.05 ? "0.0" : `${value < 0 ? "−" : "+"}${Math.abs(value).toFixed(1)}`);
// A generated item has a probability; a sum of log-probabilities is none, and the scores of other models have no scale.
function placeNote(list, nth) {
  if (Object.keys(list.parts).length) return `${nth + 1}. ${list.scores[nth].toFixed(1)}`;
  return list.levels.length ? `${nth + 1}. ${percent(Math.exp(list.scores[nth]))}` : `${nth + 1}.`;
}

// The beam as a tree: a column for each digit, the likeliest prefix on top, a line to the prefix it extends.
async function beamTree(list, digits, target) {
  const SVG = "http://www.w3.org/2000/svg";
  const draw = (tag, attributes, text) => {
    const element = document.createElementNS(SVG, tag);
    for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
    if (text !== undefined) element.textContent = text;
    return element;
  };
  const columns = list.levels.map((level, depth) => ({ level, depth, digit: digits[depth] })).filter(({ digit }) => digit.kind !== "transition");
  const width = 96;
  const priors = list.priors;
  const box = { width: 66, height: priors.length ? 34 : 22 };
  const step = box.height + 8;
  const added = (prefix) => prefix.slice(5).reduce((sum, part) => sum + part, 0);
  const last = columns[columns.length - 1];
  const heights = columns.map(({ level }) => level.length);
  const total = { width: columns.length * width + 230, height: Math.max(...heights) * step + 34 };
  const svg = draw("svg", { width: total.width, height: total.height, viewBox: `-2 0 ${total.width} ${total.height}`, "aria-hidden": "true" });
  const at = (column, place) => ({ x: column * width, y: 30 + place * step });
  const parentOf = (column, prefix) => {
    // the prefix a column further left that this one extends, over transition digits in between
    let depth = columns[column].depth;
    let place = prefix[1];
    const until = columns[column - 1].depth;
    while (depth - 1 > until) {
      depth -= 1;
      place = list.levels[depth][place][1];
    }
    return place;
  };
  columns.forEach(({ level, digit, depth }, column) => {
    svg.append(draw("text", { x: column * width, y: 12, class: "quiet" }, digit.name));
    level.forEach((prefix, place) => {
      const here = at(column, place);
      if (column > 0) {
        const from = at(column - 1, parentOf(column, prefix));
        const [x0, y0, x1, y1] = [from.x + box.width, from.y + box.height / 2, here.x, here.y + box.height / 2];
        svg.prepend(draw("path", { d: `M${x0} ${y0}C${x0 + 18} ${y0} ${x1 - 18} ${y1} ${x1} ${y1}`, class: prefix[4] ? "leads" : "" }));
      }
      const kind = digit.kind === "dedup" ? "dedup" : digit.modality;
      const group = draw("g", { class: `${kind} ${prefix[4] ? "" : "dead"} ${depth === last.depth && prefix[3] === target ? "target" : ""}`, transform: `translate(${here.x} ${here.y})` });
      group.append(
        draw("rect", { width: box.width, height: box.height, rx: 4 }),
        draw("text", { x: 6, y: 15, "font-weight": 600 }, String(prefix[0])),
        draw("text", { x: box.width - 4, y: 15, "text-anchor": "end", class: "quiet" }, percent(prefix[2])),
      );
      if (priors.length) group.append(draw("text", { x: 6, y: 28, class: Math.abs(added(prefix)) < 0.05 ? "quiet" : added(prefix) < 0 ? "less" : "more" }, `prior ${signed(added(prefix))}`));
      svg.append(group);
    });
  });
  const names = await Promise.all(last.level.map((prefix) => item(prefix[3])));
  names.forEach((found, place) => {
    const here = at(columns.length - 1, place);
    const name = nameOf(found);
    svg.append(draw("text", { x: here.x + box.width + 8, y: here.y + 15, class: last.level[place][4] ? "" : "quiet" }, name.length > 28 ? `${name.slice(0, 27)}…` : name));
  });
  const sentences = [];
  if (target !== NO_TARGET) {
    if (list.lost === null) sentences.push("The target is not in this run's catalogue.");
    else if (list.lost < list.levels.length) {
      sentences.push(`The target's prefix left the beams at the digit ${digits[list.lost].name}, where ${list.kept[list.lost].toLocaleString("en")} prefixes were kept.`);
    } else sentences.push("The target's prefix stayed in the beams to the end.");
  }
  sentences.push("Each box is a prefix that the search kept: its code and its probability given the history. Pale boxes lead to no item of the list; of those the likeliest are shown.");
  if (priors.length) sentences.push(`Below stands what ${priors.map((name) => name.replace("_", " ")).join(", ")} added to the code's logit, relative to the prefix before it.`);
  const parts = Object.keys(list.parts);
  if (parts.length) sentences.push("Items of the beams and the best of each other part are ranked by the sum of their scores, which the table has.");
  const ofDigit = (level) => priors.map((_, place) => el("td", {}, level.length ? signed(level[0][5 + place]) : "–"));
  const table = el("table", {},
    el("thead", {}, el("tr", {}, el("th", { scope: "col" }, "Digit"), el("th", { scope: "col" }, "Prefixes kept"), el("th", { scope: "col" }, "Likeliest code"), el("th", { scope: "col" }, "Its probability"), priors.map((name) => el("th", { scope: "col" }, `Added by ${name.replace("_", " ")}`)))),
    el("tbody", {}, list.levels.map((level, depth) => el("tr", {}, el("th", { scope: "row" }, digits[depth].name), el("td", {}, String(list.kept[depth])), el("td", {}, level.length ? String(level[0][0]) : "–"), el("td", {}, level.length ? percent(level[0][2]) : "–"), ofDigit(level)))),
  );
  const ranked = parts.length ? await Promise.all(list.items.map(item)) : [];
  const sums = !parts.length ? null : el("table", {},
    el("thead", {}, el("tr", {}, el("th", { scope: "col" }, "Item"), parts.map((part) => el("th", { scope: "col" }, part.replace("_", " "))), el("th", { scope: "col" }, "Sum"))),
    el("tbody", {}, ranked.map((found, nth) => el("tr", {}, el("th", { scope: "row" }, bdi(nameOf(found))), parts.map((part) => el("td", {}, list.parts[part][nth].toFixed(2))), el("td", {}, list.scores[nth].toFixed(2))))),
  );
  return [
    el("p", { class: "hint" }, sentences.join(" ")),
    el("div", { class: "beams", tabindex: "0", role: "group", "aria-label": "Beams, digit by digit; the numbers follow as a table" }, svg),
    el("details", {}, el("summary", {}, "Numbers"), el("div", { class: "scroll" }, table), sums && el("div", { class: "scroll" }, sums)),
  ];
}

// --- what UniMP was asked

function promptPart([kind, text, number], shown) {
  // pictures and semantic IDs as links to their item, marks as chips, words as they are
  if (kind === "words") return el("span", { class: "words" }, bdi(text));
  if (kind === "answer") return el("span", { class: "part answer-part", title: "the answer begins here" }, "\u2192");
  if (kind === "image" && number >= 0) return el("a", { class: "part-photo", href: link({ item: number }), "aria-label": `picture of ${nameOf(shown.get(number))}` }, photo(shown.get(number)));
  if (kind === "item" && number >= 0) return el("a", { class: "part", href: link({ item: number }), title: nameOf(shown.get(number)) }, "item");
  return el("span", { class: "part" }, kind === "picture" ? `picture, ${text}` : text || kind);
}

async function taskCase(found) {
  const numbers = new Set(found.prompt.flat().map((part) => part[2]).filter((number) => number >= 0));
  const shown = new Map(await Promise.all([...numbers].map(async (number) => [number, await item(number)])));
  const lines = found.prompt.map((chunk) => el("li", {}, chunk.map((part) => promptPart(part, shown))));
  const truth = new Set(found.truth.items);
  const answer = [];
  if (found.answer.items.length) {
    const items = await Promise.all(found.answer.items.map(item));
    const scores = found.answer.scores;
    const inner = items.map((one, nth) => el("li", {}, marked(one, { target: truth.has(one.number), note: scores ? `${nth + 1}. ${percent(Math.exp(scores[nth]))}` : null })));
    answer.push(el("ol", { class: "strip", tabindex: "0", "aria-label": "Answer" }, inner));
  }
  found.answer.lines.forEach((line) => answer.push(el("p", { class: "said" }, bdi(line || "(nothing)"))));
  if (found.answer.picture) answer.push(el("img", { class: "drawn", src: found.answer.picture, alt: "the picture that was drawn" }));
  if (!answer.length) answer.push(el("p", { class: "empty" }, "None of them."));
  const wanted = [];
  if (found.truth.items.length) {
    const items = await Promise.all(found.truth.items.map(item));
    wanted.push(el("ul", { class: "strip" }, items.map((one) => el("li", {}, marked(one)))));
  }
  found.truth.lines.forEach((line) => wanted.push(el("p", { class: "said" }, bdi(line))));
  return el("article", { class: "user" },
    el("h2", {}, "User ", bdi(found.user)),
    el("ol", { class: "prompt", "aria-label": "Prompt, item by item; the question comes last" }, lines),
    el("div", { class: "task-ends" },
      el("div", { class: "task-end" }, el("h3", {}, "Answer"), answer),
      el("div", { class: "task-end" }, el("h3", {}, "What the user did"), wanted)));
}

VIEWS.tasks = (element, config) => {
  const runs = [...new Set(config.entries.map((entry) => entry.run))];
  const runChoice = el("p", { class: "choice", role: "group", "aria-label": "Run" });
  const taskChoice = el("p", { class: "choice", role: "group", "aria-label": "Task" });
  const list = el("div");
  const pages = el("div");
  element.append(runs.length > 1 ? runChoice : "", taskChoice, list, pages);
  const chooser = (box, key, names, chosen) => box.replaceChildren(...names.map((name, place) => {
    const one = el("a", { href: link({ [key]: place || null, c: null }) }, bdi(name));
    if (place === chosen) one.setAttribute("aria-current", "true");
    return one;
  }));
  return async (now) => {
    const run = Math.min(Number(now.get("run")) || 0, runs.length - 1);
    const entries = config.entries.filter((entry) => entry.run === runs[run]);
    const task = Math.min(Number(now.get("task")) || 0, entries.length - 1);
    chooser(runChoice, "run", runs, run);
    chooser(taskChoice, "task", entries.map((entry) => entry.task), task);
    const cases = await load(entries[task].chunk);
    const page = Math.min(Math.max(1, Number(now.get("c")) || 1), Math.max(1, Math.ceil(cases.length / USERS_PER_PAGE)));
    const part = cases.slice((page - 1) * USERS_PER_PAGE, page * USERS_PER_PAGE);
    list.replaceChildren(...(await Promise.all(part.map(taskCase))));
    if (!cases.length) list.replaceChildren(el("p", { class: "empty" }, "No user has what this task asks about."));
    pages.replaceChildren(...[pager(cases.length, page, "c", USERS_PER_PAGE)].filter(Boolean));
  };
};

// --- trying a service: a history built by clicking, and the lists that change with it

async function ask(path, body) {
  const options = body ? { method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify(body) } : {};
  const answer = await fetch(path, options);
  const content = await answer.json().catch(() => ({}));
  if (!answer.ok) {
    const detail = typeof content.detail === "string" ? content.detail : `the service answers with ${answer.status}`;
    throw new Error(detail);
  }
  return content;
}

const LARGEST_PHOTO = 640; // pixels of its longer side that are sent: encoders look at less

async function shrunk(file) {
  // a photo as a data: address of a JPEG, not larger than encoders need
  const bitmap = await createImageBitmap(file).catch(() => { throw new Error(`${file.name} is no picture that this browser reads.`); });
  const scale = Math.min(1, LARGEST_PHOTO / Math.max(bitmap.width, bitmap.height));
  const canvas = el("canvas", { width: Math.max(1, Math.round(bitmap.width * scale)), height: Math.max(1, Math.round(bitmap.height * scale)) });
  const context = canvas.getContext("2d");
  context.fillStyle = "white"; // as the encoders do with what is transparent
  context.fillRect(0, 0, canvas.width, canvas.height);
  context.drawImage(bitmap, 0, 0, canvas.width, canvas.height);
  return canvas.toDataURL("image/jpeg", 0.92);
}

// A product that is not in the catalogue: which ID it gets, what is near it, who would see it.
function newProduct(config, tell) {
  const section = el("section", { "aria-label": "A new product", hidden: true });
  const run = el("select", {});
  const file = el("input", { type: "file", accept: "image/*" });
  const fields = el("span", { class: "fields" });
  const result = el("div", { "aria-live": "polite" });
  const form = el("form", { class: "filters" }, el("label", {}, "Run", run), el("label", {}, "Photo", file), fields, el("button", { type: "submit" }, "See where it stands"));
  section.append(el("h2", {}, "A new product"), el("p", {}, "Bring a photo and some words: they are encoded as the catalogue was. Nobody else sees the product, and nothing is kept."), form, result);
  ask("runs").then((runs) => {
    const able = runs.filter((one) => config.runs.includes(one.run) && Object.keys(one.encodes || {}).length);
    run.replaceChildren(...able.map((one) => el("option", { value: one.run }, one.run)));
    run.closest("label").hidden = able.length < 2;
    const choose = () => {
      const read = able.find((one) => one.run === run.value).encodes;
      const words = [...new Set(Object.values(read).flat())];
      file.closest("label").hidden = !words.includes("image");
      fields.replaceChildren(...words.filter((name) => name !== "image").map((name) => el("label", {}, name.charAt(0).toUpperCase() + name.slice(1), el("input", { type: "text", name, autocomplete: "off" }))));
    };
    run.addEventListener("change", choose);
    if (able.length) choose();
    section.hidden = !able.length;
  }).catch(tell);
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    try {
      const photo = file.files.length ? await shrunk(file.files[0]) : null;
      const words = Object.fromEntries([...fields.querySelectorAll("input")].map((input) => [input.name, input.value.trim()]).filter(([, value]) => value));
      const body = { run: run.value, words };
      if (photo) body.picture = photo.split(",")[1];
      result.replaceChildren(await placed(await ask("new-product", body), photo));
    } catch (error) {
      result.replaceChildren(el("p", { class: "notice", role: "alert" }, error.message));
    }
  });
  return section;
}

async function placed(found, photo) {
  const chips = found.codes.map((code, depth) => found.digits[depth].kind === "transition" ? null : el("li", {}, el("span", { class: chipClass(found.digits[depth]), title: found.digits[depth].name }, String(code))));
  const near = found.near.filter((one) => one.number !== null);
  const users = found.seen.slice(0, 30).map((one) => el("li", {}, el("button", { type: "button", onclick: () => takeUser(one.user) }, bdi(one.user), el("span", { class: "rank" }, ` place ${one.rank}`))));
  return el("div", { class: "placed" },
    photo ? el("img", { class: "placed-photo", src: photo, alt: "the photo of the product" }) : null,
    el("div", { style: "min-width:0" },
      el("h3", {}, "Semantic ID"), el("ol", { class: "path", "aria-label": "Semantic ID of the product" }, chips),
      el("h3", {}, "Nearest by ID"),
      near.length ? await strip(near.map((one) => one.number), (_, nth) => ({ small: true, note: count(near[nth].shared, "code", "codes") })) : el("p", { class: "empty" }, "No item shares a first code with it."),
      el("h3", {}, found.asked ? `Would be shown to ${found.seen.length.toLocaleString("en")} of ${count(found.asked, "user", "users")}, among ${found.k} items` : "The run keeps no users to look at"),
      el("ul", { class: "choice users" }, users)));
}

async function takeUser(user) {
  const found = await ask(`users/${encodeURIComponent(user)}`);
  go({ h: found.history.map((one) => one.number).filter((number) => number !== null).slice(-50).join(".") });
  document.getElementById("main").scrollIntoView();
}

VIEWS.try = (element, config) => {
  const input = el("input", { type: "search", placeholder: "Search titles, ids and facts", "aria-label": "Search items to add", autocomplete: "off" });
  const user = el("input", { type: "text", placeholder: "id", "aria-label": "User id", autocomplete: "off", size: 12 });
  const take = el("button", { type: "submit" }, "Take");
  const form = el("form", { class: "filters" }, el("label", {}, "History of a user", user), take);
  const masked = el("input", { type: "checkbox", id: "mask" });
  const allowed = el("input", { type: "search", placeholder: "all items", "aria-label": "Allowed items: words they must have", autocomplete: "off" });
  form.append(
    el("label", {}, "Allowed items", allowed),
    el("label", { for: "mask" }, "Leave out the history", masked),
  );
  const problem = el("p", { class: "notice", role: "alert", hidden: true });
  const history = el("ul", { class: "strip", "aria-label": "History, the last item first" });
  const clear = el("button", { type: "button", onclick: () => go({ h: null }) }, "Clear");
  const lists = el("div", { "aria-live": "polite" });
  const grid = el("ul", { class: "grid" });
  const status = el("p", { class: "hint", role: "status" });
  const pages = el("div");
  element.append(
    form, problem,
    el("div", { class: "list-row" }, el("h2", {}, "History", clear), history),
    lists,
    el("h2", {}, "Items"), el("div", { class: "search" }, input, status), grid, pages,
    newProduct(config, tell),
  );
  const chosen = (now) => (now.get("h") || "").split(".").filter(Boolean).map(Number).filter((number) => number < ITEMS.count);
  const add = (number) => go({ h: [...chosen(state()), number].slice(-50).join(".") });
  let timer = null;
  const later = (changes) => {
    clearTimeout(timer);
    timer = setTimeout(() => go(changes(), { replace: true }), 200);
  };
  input.addEventListener("input", () => later(() => ({ q: input.value.trim(), p: null })));
  allowed.addEventListener("input", () => later(() => ({ only: allowed.value.trim() })));
  masked.addEventListener("change", () => go({ mask: masked.checked ? 1 : null }, { replace: true }));
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    try {
      await takeUser(user.value.trim());
      problem.hidden = true;
    } catch (error) {
      tell(error);
    }
  });

  function tell(error) {
    problem.hidden = false;
    problem.textContent = error.message;
  }

  async function one(run, body) {
    const title = el("h2", {}, bdi(run));
    const found = await ask("explain", { ...body, run });
    const items = await Promise.all(found.items.filter((number) => number >= 0).map(item));
    const seen = new Set(chosen(state()));
    const cards = items.map((shown, nth) => {
      const code = found.codes[shown.token] || [];
      const chips = el("span", { class: "codes", role: "img", "aria-label": `semantic ID ${code.join(" ")}` },
        found.digits.map((digit, depth) => (digit.kind === "transition" ? null : el("span", { class: chipClass(digit) }, String(code[depth])))));
      const card = marked(shown, { seen: seen.has(shown.number), note: placeNote(found, nth) });
      return el("li", {}, card, chips, el("button", { type: "button", class: "add", onclick: () => add(shown.number), "aria-label": `Add ${nameOf(shown)}` }, "Add"));
    });
    const details = el("details", {}, el("summary", {}, "How this list came about"));
    details.addEventListener("toggle", async () => {
      if (details.open && details.children.length === 1) details.append(...(await beamTree(found, found.digits, NO_TARGET)));
    });
    return el("div", { class: "list-row" }, title, el("ol", { class: "strip", tabindex: "0", "aria-label": `List of ${run}` }, cards), details);
  }

  let asked = null;
  return async (now) => {
    const numbers = chosen(now);
    const query = now.get("q") || "";
    if (document.activeElement !== input) input.value = query;
    if (document.activeElement !== allowed) allowed.value = now.get("only") || "";
    masked.checked = now.has("mask");
    clear.hidden = !numbers.length;
    const shown = await Promise.all(numbers.map(item));
    history.replaceChildren(...shown.map((found, place) => el("li", {},
      card(found, { small: true, note: place === shown.length - 1 ? "last" : null }),
      el("button", { type: "button", class: "add", "aria-label": `Remove ${nameOf(found)}`, onclick: () => go({ h: numbers.filter((_, other) => other !== place).join(".") }) }, "Remove"))).reverse());
    if (!numbers.length) history.replaceChildren(el("li", { class: "empty" }, "Nothing yet: add items below."));

    const found = await search(query);
    const total = found === null ? ITEMS.count : found.length;
    const page = Math.min(Math.max(1, Number(now.get("p")) || 1), Math.max(1, Math.ceil(total / PER_PAGE)));
    const start = (page - 1) * PER_PAGE;
    const part = found === null ? Array.from({ length: Math.min(PER_PAGE, total - start) }, (_, place) => start + place) : found.slice(start, start + PER_PAGE);
    status.textContent = total ? count(total, "item", "items") : `No item has “${query}”.`;
    const offered = await Promise.all(part.map(item));
    grid.replaceChildren(...offered.map((one) => el("li", {}, card(one), el("button", { type: "button", class: "add", onclick: () => add(one.number), "aria-label": `Add ${nameOf(one)}` }, "Add"))));
    pages.replaceChildren(...[pager(total, page, "p")].filter(Boolean));

    const key = JSON.stringify([numbers, now.get("mask"), now.get("only")]);
    if (key === asked) return;
    asked = key;
    if (!numbers.length) return lists.replaceChildren();
    const body = { history: shown.map((found) => found.token), mask_history: now.has("mask") };
    try {
      const only = await search(now.get("only") || "");
      if (only !== null) body.only = (await Promise.all(only.slice(0, 20000).map(item))).map((found) => found.token);
      if (only !== null && !only.length) throw new Error("No item has these words, so nothing is allowed.");
      const drawn = await Promise.all(config.runs.map((run) => one(run, body)));
      if (key === asked) {
        lists.replaceChildren(...drawn);
        problem.hidden = true;
      }
    } catch (error) {
      asked = null;
      lists.replaceChildren();
      tell(error);
    }
  };
};

// --- one item

async function itemDialog(number) {
  const dialog = document.getElementById("item");
  const found = await item(number);
  const part = Math.floor(number / ITEMS.chunk);
  const place = number % ITEMS.chunk;
  const close = el("button", { type: "button", class: "close", onclick: () => dialog.close() }, "Close");
  const parts = [];
  for (let table = 0; table < (ITEMS.tables || 0); table += 1) {
    const [tree, codes] = await Promise.all([load(`tree-${table}`), load(`codes-${table}-${part}`)]);
    const own = codes[place];
    const heading = ITEMS.tables > 1 ? `Semantic ID, ${tree.label}` : "Semantic ID";
    parts.push(el("h3", {}, bdi(heading)));
    if (!own) {
      parts.push(el("p", { class: "empty" }, "This item has none."));
      continue;
    }
    const chips = own.map((code, depth) => {
      const digit = tree.digits[depth];
      const target = `table=${table || ""}&prefix=${own.slice(0, depth + 1).join(".")}`;
      const address = document.body.hasAttribute("data-single") ? `#page=ids&${target}` : `ids.html#${target}`;
      return el("li", {}, el("a", { class: chipClass(digit), href: address, title: digit.name, "aria-label": `${digit.name}: ${code}`, onclick: () => dialog.close("link") }, String(code)));
    });
    parts.push(el("ol", { class: "path", "aria-label": heading }, chips));
    const near = (await load(`near-id-${table}-${part}`))[place];
    if (near.length) {
      parts.push(el("h3", {}, ITEMS.tables > 1 ? bdi(`Nearest by ID, ${tree.label}`) : "Nearest by ID"));
      parts.push(await strip(near.map(([other]) => other), (_, nth) => ({ small: true, note: `${count(near[nth][1], "digit", "digits")}` })));
    }
  }
  for (const modality of ITEMS.modalities || []) {
    const near = (await load(`near-${modality}-${part}`))[place];
    parts.push(el("h3", {}, `Nearest by ${modality}`));
    parts.push(near.length ? await strip(near.map(([other]) => other), (_, nth) => ({ small: true, note: near[nth][1].toFixed(2) })) : el("p", { class: "empty" }, "This item has no vector."));
  }
  dialog.replaceChildren(
    el(
      "div",
      { class: "item-head" },
      photo(found),
      el(
        "div",
        {},
        el("h2", { id: "item-title" }, bdi(nameOf(found))),
        found.facts ? el("p", { class: "hint" }, bdi(found.facts)) : null,
        el("p", { class: "hint" }, el("code", {}, found.token), found.count === null ? null : `, taken ${found.count.toLocaleString("en")} times`),
      ),
      close,
    ),
    ...parts,
  );
  if (!dialog.open) dialog.showModal();
  close.focus();
}

// --- figures

let plotly = null;

function loadPlotly() {
  if (plotly) return plotly;
  plotly = new Promise((resolve, reject) => {
    const script = document.createElement("script");
    const inlined = document.getElementById("plotly");
    if (inlined) {
      script.textContent = inlined.textContent;
      document.head.append(script);
      return resolve(window.Plotly);
    }
    script.src = "plotly.js";
    script.onload = () => resolve(window.Plotly);
    script.onerror = () => reject(new Error("plotly.js is missing"));
    document.head.append(script);
  });
  return plotly;
}

function coloured(value, style) {
  if (typeof value === "string" && value.startsWith("--")) return style.getPropertyValue(value).trim();
  if (Array.isArray(value)) return value.map((one) => coloured(one, style));
  if (value && typeof value === "object") return Object.fromEntries(Object.entries(value).map(([key, one]) => [key, coloured(one, style)]));
  return value;
}

async function drawFigure(figure) {
  const Plotly = await loadPlotly();
  const style = getComputedStyle(document.documentElement);
  const { data, layout } = coloured(JSON.parse(figure.querySelector("script").textContent), style);
  const line = style.getPropertyValue("--line").trim();
  const axis = { gridcolor: line, zerolinecolor: line, linecolor: line, automargin: true };
  const whole = {
    margin: { l: 8, r: 8, t: 16, b: 8 },
    paper_bgcolor: "rgba(0,0,0,0)",
    plot_bgcolor: "rgba(0,0,0,0)",
    font: { color: style.getPropertyValue("--ink").trim(), family: "inherit", size: 12 },
    legend: { orientation: "h", y: 1.02, yanchor: "bottom", x: 0 },
    hovermode: "closest",
    ...layout,
  };
  for (const key of ["xaxis", "yaxis"]) whole[key] = { ...axis, ...whole[key] };
  const canvas = figure.querySelector(".canvas");
  if (whole.height) canvas.style.height = `${whole.height}px`;
  await Plotly.react(canvas, data, whole, { displayModeBar: false, responsive: true });
  figure.dataset.drawn = "";
}

function watchFigures() {
  const watcher = new IntersectionObserver((entries) => {
    entries.filter((entry) => entry.isIntersecting).forEach((entry) => {
      watcher.unobserve(entry.target);
      drawFigure(entry.target);
    });
  }, { rootMargin: "200px" });
  document.querySelectorAll("figure.plot").forEach((figure) => watcher.observe(figure));
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => document.querySelectorAll("figure[data-drawn]").forEach(drawFigure));
}

// --- the page

const DRAWERS = [];

function showPage(now) {
  if (!document.body.hasAttribute("data-single")) return;
  const pages = [...document.querySelectorAll("section.page")];
  const wanted = now.get("page") || pages[0].dataset.page;
  pages.forEach((page) => { page.hidden = page.dataset.page !== wanted; });
  document.querySelectorAll("nav a").forEach((entry) => {
    if (entry.dataset.page === wanted) entry.setAttribute("aria-current", "page");
    else entry.removeAttribute("aria-current");
  });
}

async function draw() {
  const now = state();
  showPage(now);
  const table = Number(now.get("table") || 0);
  document.querySelectorAll("[data-table]").forEach((part) => { part.hidden = Number(part.dataset.table) !== table; });
  document.querySelectorAll("[data-table-link]").forEach((entry) => {
    entry.href = link({ table: entry.dataset.tableLink === "0" ? null : entry.dataset.tableLink, prefix: null, t: null, g: null });
    if (Number(entry.dataset.tableLink) === table) entry.setAttribute("aria-current", "true");
    else entry.removeAttribute("aria-current");
  });
  const shown = DRAWERS.filter(({ element }) => !element.closest("[hidden]"));
  await Promise.all(shown.map(({ drawer }) => drawer(now)));
  const dialog = document.getElementById("item");
  const number = now.get("item");
  if (number !== null && Number(number) < (ITEMS ? ITEMS.count : 0)) await itemDialog(Number(number));
  else if (dialog.open) dialog.close("state");
  document.body.dataset.ready = "";
}

function start() {
  document.querySelectorAll("[data-view]").forEach((element) => {
    const config = JSON.parse(element.querySelector("script.config").textContent);
    if (config.items) ITEMS = config.items;
    if (ITEMS) document.documentElement.style.setProperty("--ratio", ITEMS.ratio);
    DRAWERS.push({ element, drawer: VIEWS[element.dataset.view](element, config) });
  });
  const dialog = document.getElementById("item");
  dialog.addEventListener("close", () => {
    if (!["state", "link"].includes(dialog.returnValue) && state().has("item")) go({ item: null });
    dialog.returnValue = "";
  });
  dialog.addEventListener("click", (event) => { if (event.target === dialog) dialog.close(); });
  document.querySelector("[data-skip]").addEventListener("click", (event) => {
    event.preventDefault();
    document.getElementById("main").focus();
  });
  window.addEventListener("hashchange", draw);
  watchFigures();
  draw();
}

start();
