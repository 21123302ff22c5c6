"use strict";
(() => {
  const said = document.getElementById("said");
  let timer;
  const say = (text) => {
    said.textContent = text;
    said.classList.add("on");
    clearTimeout(timer);
    timer = setTimeout(() => said.classList.remove("on"), 1200);
  };
  const byHand = (text) => {
    const area = document.createElement("textarea");
    area.value = text;
    document.body.append(area);
    area.select();
    document.execCommand("copy");
    area.remove();
  };
  const copy = async (text) => {
    try {
      await navigator.clipboard.writeText(text);
    } catch {
      byHand(text);
    }
    say(`Copied ${text}`);
  };
  const key = (row, place) => {
    const text = row.cells[place].dataset.sort ?? "";
    const number = Number(text);
    return text !== "" && !Number.isNaN(number) ? number : text.toLowerCase();
  };
  const compare = (a, b) =>
    typeof a === typeof b ? (a < b ? -1 : a > b ? 1 : 0) : typeof a === "number" ? -1 : 1;
  const sort = (heading) => {
    const table = heading.closest("table");
    const place = heading.cellIndex;
    const down = heading.classList.contains("number")
      ? heading.ariaSort !== "descending"
      : heading.ariaSort === "ascending";
    for (const other of table.tHead.rows[0].cells) other.removeAttribute("aria-sort");
    heading.setAttribute("aria-sort", down ? "descending" : "ascending");
    const body = table.tBodies[0];
    const rows = [...body.rows];
    rows.sort((a, b) => compare(key(a, place), key(b, place)) * (down ? -1 : 1));
    body.append(...rows);
  };
  document.addEventListener("click", (event) => {
    const button = event.target.closest("button");
    if (!button) return;
    if (button.dataset.copy) copy(button.dataset.copy);
    else if (button.parentElement.tagName === "TH") sort(button.parentElement);
  });
})();
