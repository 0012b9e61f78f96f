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
      input.value = now.get("user") || "";
      filters.replaceChildren(...controls, userLabel);
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
