"use strict";

function compareCells(a, b, direction) {
  if (a === "" || b === "") return (a === "") - (b === "");
  const x = Number(a), y = Number(b);
  const order = Number.isNaN(x) || Number.isNaN(y) ? a.localeCompare(b) : x - y;
  return direction * order;
}

function sortBy(heading) {
  const row = heading.parentElement;
  const column = Array.from(row.children).indexOf(heading);
  const descending = heading.getAttribute("aria-sort") === "ascending";
  for (const other of row.children) other.setAttribute("aria-sort", "none");
  heading.setAttribute("aria-sort", descending ? "descending" : "ascending");
  const body = heading.closest("table").tBodies[0];
  const rows = Array.from(body.rows);
  const value = (bodyRow) => bodyRow.cells[column].dataset.value;
  rows.sort((a, b) => compareCells(value(a), value(b), descending ? -1 : 1));
  body.append(...rows);
}

for (const heading of document.querySelectorAll("table.sortable th")) {
  heading.querySelector("button").addEventListener("click", () => sortBy(heading));
}

document.getElementById("theme").addEventListener("click", () => {
  const root = document.documentElement;
  const system = window.matchMedia("(prefers-color-scheme: dark)").matches ? "dark" : "light";
  root.dataset.theme = (root.dataset.theme || system) === "dark" ? "light" : "dark";
});
