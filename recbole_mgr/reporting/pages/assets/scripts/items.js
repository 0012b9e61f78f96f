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
