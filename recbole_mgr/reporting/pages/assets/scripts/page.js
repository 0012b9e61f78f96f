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

const labelOf = (element) => element.getAttribute("aria-label") || element.textContent;

function keepFocus(was, above) {
  // what had the focus was drawn anew: its twin gets it, in what is left of the page around it
  if (was.isConnected || document.activeElement !== document.body) return;
  const home = above.find((element) => element.isConnected);
  const twin = [...home.querySelectorAll(was.tagName)].find((element) => labelOf(element) === labelOf(was));
  if (twin) twin.focus({ preventScroll: true });
}

async function draw() {
  const focused = document.activeElement;
  const above = [];
  for (let element = focused.parentElement; element; element = element.parentElement) above.push(element);
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
  keepFocus(focused, above);
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
