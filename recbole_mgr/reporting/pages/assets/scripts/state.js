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

// as plain_words of items.py and words_of of words.py, which make the index
const LEFT_OUT = /[\u0300-\u036f\u0591-\u05bd\u05bf\u05c1\u05c2\u05c4\u05c5\u05c7\u064b-\u065f\u0670\u200c\u200d]/gu;
const plain = (text) => text.toLowerCase().normalize("NFKD").replace(LEFT_OUT, "");
const wordsOf = (text) => plain(text).match(/[\p{L}\p{N}_][\p{L}\p{M}\p{N}_]*/gu) || [];

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
