"use strict";
// A click on a heading sorts the rows of its table; a second click turns the order round.
for (const button of document.querySelectorAll("thead button")) {
  button.addEventListener("click", () => {
    const heading = button.closest("th");
    const column = heading.cellIndex;
    const body = heading.closest("table").tBodies[0];
    const turned = heading.getAttribute("aria-sort") === "ascending" ? -1 : 1;
    for (const other of heading.parentNode.cells) other.removeAttribute("aria-sort");
    heading.setAttribute("aria-sort", turned === 1 ? "ascending" : "descending");
    const key = (row) => row.cells[column].dataset.sort;
    const text = (row) => row.cells[column].textContent.trim();
    const rows = [...body.rows].sort((one, other) => {
      // Numbers come first and what has none comes last, in either order.
      const [a, b] = [key(one), key(other)];
      if (a !== undefined && b !== undefined) return turned * (Number(a) - Number(b));
      if (a !== undefined || b !== undefined) return a === undefined ? 1 : -1;
      return turned * text(one).localeCompare(text(other));
    });
    body.append(...rows);
  });
}
// A table that does not fit says that it scrolls.
const fits = new ResizeObserver((changes) => {
  for (const { target } of changes) {
    const wide = target.scrollWidth > target.clientWidth + 1;
    target.classList.toggle("wide", wide);
    target.previousElementSibling.hidden = !wide;
  }
});
for (const region of document.querySelectorAll(".scroll")) fits.observe(region);
