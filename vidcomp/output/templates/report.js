"use strict";
(() => {
  const byId = (id) => document.getElementById(id);
  const list = byId("videos");
  const rows = [...list.children].map((element, place) => ({ element, place, ...element.dataset }));
  const search = byId("search"), label = byId("label"), outcome = byId("outcome");
  const order = byId("order"), direction = byId("direction");
  const names = new Intl.Collator(undefined, { numeric: true });

  for (const name of [...new Set(rows.map((row) => row.label))].filter(Boolean).sort(names.compare)) {
    label.append(new Option(name, name));
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
        && (!outcome.value || (outcome.value === "failed") === Boolean(row.error));
      row.element.hidden = !wanted;
      shown += wanted;
    }
    const failed = rows.filter((row) => row.error).length;
    byId("count").textContent = `${shown} of ${rows.length} videos shown, ${failed} failed in all`;
  }

  function sort() {
    const sign = direction.getAttribute("aria-pressed") === "true" ? -1 : 1;
    const sorted = [...rows].sort(compare(order.value, sign));
    list.append(...sorted.map((row) => row.element));
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
  order.addEventListener("change", sort);
  direction.addEventListener("click", () => {
    direction.setAttribute("aria-pressed", String(direction.getAttribute("aria-pressed") !== "true"));
    sort();
  });
  byId("controls").addEventListener("submit", (event) => { event.preventDefault(); filter(); });
  byId("controls").hidden = false;
  filter();
})();
