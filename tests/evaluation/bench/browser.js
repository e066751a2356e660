// As much of a browser as the review page needs. Arguments: a file of {script, cards, acts}; prints what is to be known.
// An act is [number of the card, "accepted" | "rejected" | "undo"], or [number, number of the text, what is typed].
const fs = require("fs");
const {script, cards, acts, storage} = JSON.parse(fs.readFileSync(process.argv[2], "utf8"));

function element(more) {
  const heard = {};
  return Object.assign({hidden: false, textContent: "", addEventListener: (name, act) => { heard[name] = act; },
    send: (name, event) => heard[name]?.(event)}, more);
}

const articles = cards.map(({id, digest, texts}) => {
  const areas = texts.map(text => ({value: text, defaultValue: text}));
  const radios = ["accepted", "rejected"].map(value => ({value, checked: false}));
  const undo = element({});
  return element({dataset: {id, digest}, className: "", radios, areas, undo,
    querySelectorAll: what => (what === "textarea" ? areas : radios),
    querySelector: what => (what === ".undo" ? undo : radios.find(radio => radio.checked) ?? null)});
});
const named = Object.fromEntries(["count", "open", "save", "lost"].map(id => [id, element({})]));
let saved = null;
const document = {
  querySelectorAll: () => articles,
  getElementById: id => named[id],
  createElement: () => ({click() { saved = {name: this.download, text: this.href}; }}),
};
const kept = new Map(Object.entries(storage));
const localStorage = {getItem: key => kept.get(key) ?? null, setItem: (key, value) => kept.set(key, value)};
class Blob { constructor(parts) { this.text = parts.join(""); } }
const URL = {createObjectURL: blob => blob.text};

new Function("document", "localStorage", "Blob", "URL", script)(document, localStorage, Blob, URL);
const before = named.count.textContent;
for (const [number, what, typed] of acts) {
  const card = articles[number];
  if (what === "undo") { card.undo.send("click"); continue; }
  if (typeof what === "number") card.areas[what].value = typed;
  else for (const radio of card.radios) radio.checked = radio.value === what;
  card.send("input");
}
named.open.send("change", {target: {checked: true}});
named.save.send("click");
console.log(JSON.stringify({before, after: named.count.textContent, saved, storage: Object.fromEntries(kept),
  hidden: articles.map(card => card.hidden), looks: articles.map(card => card.className)}));
