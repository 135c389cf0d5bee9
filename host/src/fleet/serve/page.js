"use strict";
// Filters the rows that are there while one types; Enter asks the server. What
// was typed is kept behind the # of the address, so that it outlives a reload.
(() => {
  const box = document.getElementById("q");
  const body = document.getElementById("rows");
  const shown = document.getElementById("shown");
  if (!box || !body || !shown) return;
  const rows = Array.from(body.rows, (row) => [row, row.textContent.toLowerCase()]);
  const filter = () => {
    const text = box.value.trim().toLowerCase();
    let count = 0;
    for (const [row, words] of rows) {
      row.hidden = !words.includes(text);
      if (!row.hidden) count += 1;
    }
    shown.textContent = String(count);
  };
  box.addEventListener("input", () => {
    history.replaceState(null, "", "#q=" + encodeURIComponent(box.value));
    filter();
  });
  if (location.hash.startsWith("#q=")) {
    try {
      box.value = decodeURIComponent(location.hash.slice(3));
    } catch {
      return;
    }
    filter();
  }
})();
