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
