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
    result.replaceChildren(el("p", { class: "hint" }, "Looking at the lists of some users …"));
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

  const withBeams = ask("runs").then((runs) => new Set(runs.filter((one) => one.digits.length).map((one) => one.run)));

  // A run's list as "explain" tells it; of one that scores every item, without beams.
  async function listOf(run, { history, ...options }) {
    if ((await withBeams).has(run)) return ask("explain", { ...options, history, run });
    const { lists: [{ items }] } = await ask("recommend", { ...options, histories: [history], run });
    return { items: items.map((one) => one.number ?? -1), item_ids: items.map((one) => one.item_id), scores: items.map((one) => one.score), digits: [], codes: {}, levels: [], parts: {} };
  }

  async function one(run, body) {
    const title = el("h2", {}, bdi(run));
    let found;
    try {
      found = await listOf(run, body);
    } catch (error) {
      return el("div", { class: "list-row" }, title, el("p", { class: "notice", role: "alert" }, error.message));
    }
    const seen = new Set(chosen(state()));
    const cards = await Promise.all(found.items.map(async (number, nth) => {
      const code = found.codes[found.item_ids[nth]] || [];
      const chips = code.length ? el("span", { class: "codes", role: "img", "aria-label": `semantic ID ${code.join(" ")}` },
        found.digits.map((digit, depth) => (digit.kind === "transition" ? null : el("span", { class: chipClass(digit) }, String(code[depth]))))) : null;
      const note = placeNote(found, nth);
      if (number < 0) return el("li", {}, el("p", {}, bdi(found.item_ids[nth])), el("p", { class: "hint" }, `${note}, a new item`), chips); // let in since the pages were written
      const shown = await item(number);
      return el("li", {}, marked(shown, { seen: seen.has(number), note }), chips, el("button", { type: "button", class: "add", onclick: () => add(number), "aria-label": `Add ${nameOf(shown)}` }, "Add"));
    }));
    const details = el("details", {}, el("summary", {}, "How this list came about"));
    details.addEventListener("toggle", async () => {
      if (details.open && details.children.length === 1) details.append(...(await beamTree(found, found.digits, NO_TARGET)));
    });
    return el("div", { class: "list-row" }, title, el("ol", { class: "strip", tabindex: "0", "aria-label": `List of ${run}` }, cards), found.levels.length ? details : null);
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
