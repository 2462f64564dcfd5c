"use strict";

/* Tables with the class "sorts": a click on a heading, or Enter or Space on it, sorts by that column. A body of a
   table is one row with what belongs to it. Cells sort by data-sort if they have it, else by their text. */
function sortValue(body, column) {
  const cell = body.rows[0].cells[column];
  const value = cell.dataset.sort ?? cell.textContent.trim();
  const number = Number(value);
  return value === "" || Number.isNaN(number) ? value : number;
}

function sortTable(table, column, heading) {
  const first = heading.classList.contains("n") ? "descending" : "ascending";
  const opposite = { ascending: "descending", descending: "ascending", none: first };
  const order = opposite[heading.getAttribute("aria-sort")];
  const sign = order === "ascending" ? 1 : -1;
  const bodies = [...table.tBodies].map((body) => [sortValue(body, column), body]);
  bodies.sort(([a], [b]) => {
    if (a === "" || b === "") return (a === "") - (b === "");
    if (typeof a === "number" && typeof b === "number") return sign * (a - b);
    return sign * String(a).localeCompare(String(b), "en", { numeric: true });
  });
  table.append(...bodies.map(([, body]) => body));
  for (const other of heading.parentElement.querySelectorAll("[aria-sort]")) other.setAttribute("aria-sort", "none");
  heading.setAttribute("aria-sort", order);
}

for (const table of document.querySelectorAll("table.sorts")) {
  [...table.tHead.rows[0].cells].forEach((heading, column) => {
    if (!heading.textContent) return;
    const button = document.createElement("button");
    button.append(...heading.childNodes);
    heading.append(button);
    if (!heading.hasAttribute("aria-sort")) heading.setAttribute("aria-sort", "none");
    button.addEventListener("click", () => sortTable(table, column, heading));
  });
}

for (const button of document.querySelectorAll("button[aria-controls]")) {
  button.addEventListener("click", () => {
    const open = button.getAttribute("aria-expanded") !== "true";
    button.setAttribute("aria-expanded", String(open));
    document.getElementById(button.getAttribute("aria-controls")).hidden = !open;
  });
}

/* The colours follow the system until the button chooses. */
const root = document.documentElement;
const theme = document.querySelector("button.theme");
const dark = () => (root.dataset.theme ?? (matchMedia("(prefers-color-scheme: dark)").matches ? "dark" : "light")) === "dark";
theme.addEventListener("click", () => {
  root.dataset.theme = dark() ? "light" : "dark";
});

addEventListener("beforeprint", () => {
  for (const details of document.querySelectorAll("details:not([open], .screen)")) {
    details.open = true;
    details.dataset.closed = "";
  }
});
addEventListener("afterprint", () => {
  for (const details of document.querySelectorAll("details[data-closed]")) {
    details.open = false;
    delete details.dataset.closed;
  }
});
