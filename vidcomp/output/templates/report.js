"use strict";
(() => {
  const byId = (id) => document.getElementById(id);
  const list = byId("videos");
  const rows = [...list.children].map((element, place) => ({ element, place, ...element.dataset }));
  const search = byId("search"), label = byId("label"), outcome = byId("outcome");
  const order = byId("order"), direction = byId("direction"), least = byId("least");
  const names = new Intl.Collator(undefined, { numeric: true });

  const counts = new Map();
  for (const row of rows) counts.set(row.label, (counts.get(row.label) || 0) + 1);
  for (const name of [...counts.keys()].filter(Boolean).sort(names.compare)) {
    label.append(new Option(`${name} (${counts.get(name)})`, name));
  }

  // Rows without the value come last, whatever the direction: nothing is known of them.
  function compare(key, sign) {
    const number = key === "probability" || key === "seconds";
    return (a, b) => {
      if (!key) return sign * (a.place - b.place);
      if (!a[key] || !b[key]) return !a[key] - !b[key] || a.place - b.place;
      return sign * (number ? a[key] - b[key] : names.compare(a[key], b[key])) || a.place - b.place;
    };
  }

  function filter() {
    const text = search.value.trim().toLowerCase();
    let shown = 0;
    for (const row of rows) {
      const wanted = (!text || row.name.toLowerCase().includes(text))
        && (!label.value || row.label === label.value)
        && (outcome.value === "uncertain" ? Boolean(row.uncertain)
          : !outcome.value || (outcome.value === "failed") === Boolean(row.error))
        && (least.value === "0" || 100 * row.probability >= Number(least.value) && row.probability !== "");
      row.element.hidden = !wanted;
      shown += wanted;
    }
    byId("least-shown").textContent = `${least.value}%`;
    least.setAttribute("aria-valuetext", `${least.value}%`);
    const failed = rows.filter((row) => row.error).length;
    byId("count").textContent = `${shown} of ${rows.length} videos shown, ${failed} failed in all`;
  }

  function sort() {
    const sign = direction.getAttribute("aria-pressed") === "true" ? -1 : 1;
    const sorted = [...rows].sort(compare(order.value, sign));
    list.append(...sorted.map((row) => row.element));
  }

  // The rows that are shown, in their order, as CSV; what a spreadsheet would take for a formula is text.
  function save() {
    const keys = ["name", "label", "probability", "seconds", "error"];
    const field = (text) => `"${(/^[=+@-]/.test(text) ? `'${text}` : text).replaceAll('"', '""')}"`;
    const lines = [...list.children].filter((row) => !row.hidden).map((row) => keys.map((key) => field(row.dataset[key])));
    const link = document.createElement("a");
    link.href = URL.createObjectURL(new Blob([[keys, ...lines].map((line) => `${line.join(",")}\n`).join("")], { type: "text/csv" }));
    link.download = "videos.csv";
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 1000);
  }

  // A moment's button shows the player there.
  list.addEventListener("click", (event) => {
    const button = event.target.closest("button[data-at]");
    const player = button && button.closest("li[data-name]").querySelector("video");
    if (!player) return;
    player.hidden = false;
    const go = () => { player.currentTime = Number(button.dataset.at); player.play(); };
    if (player.readyState) go();
    else { player.addEventListener("loadedmetadata", go, { once: true }); player.load(); }
  });

  let waiting;
  search.addEventListener("input", () => { clearTimeout(waiting); waiting = setTimeout(filter, 120); });
  label.addEventListener("change", filter);
  outcome.addEventListener("change", filter);
  least.addEventListener("input", filter);
  byId("export").addEventListener("click", save);
  order.addEventListener("change", sort);
  direction.addEventListener("click", () => {
    direction.setAttribute("aria-pressed", String(direction.getAttribute("aria-pressed") !== "true"));
    sort();
  });
  byId("controls").addEventListener("submit", (event) => { event.preventDefault(); filter(); });
  byId("controls").hidden = false;
  filter();
})();
