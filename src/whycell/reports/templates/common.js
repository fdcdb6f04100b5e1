// Shared by every page: sortable tables, TSV downloads, everything open in print. Text is set, never HTML.
(function () {
  "use strict";
  document.documentElement.classList.add("js");

  function value(row, column) {
    const cell = row.cells[column];
    const text = cell.dataset.sort !== undefined ? cell.dataset.sort : cell.textContent.trim();
    const number = parseFloat(text.replace(/,/g, ""));
    return { text: text, number: text !== "" && !isNaN(number) ? number : null };
  }

  function sort(table, column, head) {
    const down = head.getAttribute("aria-sort") !== "descending";
    for (const other of table.tHead.rows[0].cells) other.removeAttribute("aria-sort");
    head.setAttribute("aria-sort", down ? "descending" : "ascending");
    const numeric = head.classList.contains("number");
    const rows = Array.from(table.tBodies[0].rows).map((row) => ({ row: row, value: value(row, column) }));
    rows.sort(function (a, b) {
      if (!numeric) return (down ? 1 : -1) * a.value.text.localeCompare(b.value.text);
      if (a.value.number === null || b.value.number === null) return (a.value.number === null) - (b.value.number === null);
      return (down ? -1 : 1) * (a.value.number - b.value.number);
    });
    for (const item of rows) table.tBodies[0].appendChild(item.row);
  }

  for (const table of document.querySelectorAll("table.sortable")) {
    Array.from(table.tHead.rows[0].cells).forEach(function (head, column) {
      const button = document.createElement("button");
      button.type = "button";
      button.textContent = head.textContent;
      head.replaceChildren(button);
      button.addEventListener("click", () => sort(table, column, head));
    });
  }

  for (const button of document.querySelectorAll("[data-tsv]")) {
    button.addEventListener("click", function () {
      const text = JSON.parse(document.getElementById(button.dataset.tsv).textContent);
      const url = URL.createObjectURL(new Blob([text], { type: "text/tab-separated-values" }));
      const link = document.createElement("a");
      link.href = url;
      link.download = button.dataset.file;
      link.click();
      setTimeout(() => URL.revokeObjectURL(url), 1000);
    });
  }

  window.addEventListener("beforeprint", function () {
    for (const part of document.querySelectorAll("details:not(:has(pre))")) part.open = true;
  });
})();
