// --- what UniMP was asked

function promptPart([kind, text, number], shown) {
  // pictures and semantic IDs as links to their item, marks as chips, words as they are
  if (kind === "words" || kind === "question") return el("span", { class: kind }, bdi(text));
  if (kind === "answer") return el("span", { class: "part answer-part", title: "the answer begins here" }, "\u2192");
  if (kind === "image" && number >= 0) return el("a", { class: "part-photo", href: link({ item: number }), "aria-label": `picture of ${nameOf(shown.get(number))}` }, photo(shown.get(number)));
  if (kind === "item" && number >= 0) return el("a", { class: "part", href: link({ item: number }), title: nameOf(shown.get(number)) }, "item");
  return el("span", { class: "part" }, kind === "picture" ? `picture, ${text}` : text || kind);
}

async function taskCase(found) {
  const numbers = new Set(found.prompt.flat().map((part) => part[2]).filter((number) => number >= 0));
  const shown = new Map(await Promise.all([...numbers].map(async (number) => [number, await item(number)])));
  const lines = found.prompt.map((chunk) => {
    const parts = chunk.map((part) => promptPart(part, shown));
    const photos = chunk[0][0] === "image" ? [parts.shift()] : []; // beside all that is said of it
    return el("li", {}, photos, el("div", {}, parts));
  });
  const truth = new Set(found.truth.items);
  const candidates = await cards(found.candidates, () => ({ small: true }));
  const answer = [];
  if (found.answer.items.length) {
    const items = await Promise.all(found.answer.items.map(item));
    // the place alone: with priors a score is a sum and no probability
    const inner = items.map((one, nth) => el("li", {}, marked(one, { target: truth.has(one.number), note: found.answer.scores ? `${nth + 1}.` : null })));
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
    candidates.length ? [el("h3", {}, "To choose from"), el("ul", { class: "strip", "aria-label": "To choose from" }, candidates.map((one) => el("li", {}, one)))] : [],
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
