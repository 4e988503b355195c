"use strict";

// Everything is in the page without this script; it sorts the table and filters the gallery.

function sortBy(header, column) {
  const direction = header.getAttribute("aria-sort") === "descending" ? "ascending" : "descending";
  header.closest("tr").querySelectorAll("th").forEach((other) => other.removeAttribute("aria-sort"));
  header.setAttribute("aria-sort", direction);
  const sign = direction === "ascending" ? 1 : -1;
  const body = header.closest("table").tBodies[0];
  const value = (row) => row.cells[column].dataset.value;
  const compare = header.dataset.sort === "text"
    ? (one, other) => sign * one.cells[column].textContent.localeCompare(other.cells[column].textContent)
    : (one, other) => (value(one) === "") - (value(other) === "") || sign * (value(one) - value(other));
  body.append(...[...body.rows].sort(compare));
}

for (const header of document.querySelectorAll("#table thead th")) {
  const button = document.createElement("button");
  button.type = "button";
  button.append(...header.childNodes);
  button.addEventListener("click", () => sortBy(header, header.cellIndex));
  header.append(button);
}

const FEW = 24;
const gallery = document.getElementById("gallery");
const cards = [...gallery.children].map((card) => ({ card, order: JSON.parse(card.dataset.order) }));
const checkpoint = document.getElementById("by-checkpoint");
const onlyDifferent = document.getElementById("by-difference");
const more = document.getElementById("more");
let all = false;

function differs({ card }) {
  const others = [...card.querySelectorAll(".other")];
  return others.some((other) => !checkpoint.value || other.dataset.by.split(" ").includes(checkpoint.value));
}

function showChosen() {
  cards.sort((one, other) => one.order[checkpoint.value] - other.order[checkpoint.value]);
  const chosen = cards.filter((own) => !onlyDifferent.checked || differs(own));
  const shown = new Set(all ? chosen : chosen.slice(0, FEW));
  for (const own of cards) {
    own.card.hidden = !shown.has(own);
    for (const other of own.card.querySelectorAll(".other")) {
      other.hidden = checkpoint.value !== "" && !other.dataset.by.split(" ").includes(checkpoint.value);
    }
  }
  gallery.append(...cards.map(({ card }) => card));
  document.getElementById("count").textContent = `${shown.size} of ${chosen.length} pictures`;
  more.hidden = shown.size === chosen.length;
  more.textContent = `Show all ${chosen.length}`;
}

checkpoint.addEventListener("change", showChosen);
onlyDifferent.addEventListener("change", showChosen);
document.getElementById("filters").addEventListener("submit", (event) => event.preventDefault());
more.addEventListener("click", () => {
  const next = cards.find(({ card }) => card.hidden);
  all = true;
  showChosen();
  if (next) {
    next.card.tabIndex = -1;
    next.card.focus();
  }
});
document.getElementById("filters").hidden = false;
showChosen();
