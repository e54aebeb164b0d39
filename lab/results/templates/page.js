"use strict";
(() => {
  const all = (selector, root = document) => [...root.querySelectorAll(selector)];
  const one = (selector, root = document) => root.querySelector(selector);
  document.documentElement.classList.add("js");

  // Filters: what is chosen within one group is joined by "or", the groups by "and".
  const form = one("form.filters");
  function filter() {
    if (!form) return;
    const words = form.q.value.toLowerCase().split(/\s+/).filter(Boolean);
    const chosen = (name) => new Set(all(`input[name=${name}]:checked`, form).map((box) => box.value));
    const [modes, looks] = [chosen("mode"), chosen("look")];
    const wrong = form.wrong.checked, shares = form.shares.checked;
    const fits = (item) => {
      const { mode, look, words: text = "", wrong: bad, share } = item.dataset;
      return (!modes.size || modes.has(mode)) && (!looks.size || looks.has(look)) && (!wrong || bad === "1")
        && (!shares || share === "1") && words.every((word) => text.includes(word));
    };
    let shown = 0;
    const cells = all(".every details");
    for (const cell of cells) {
      cell.hidden = !fits(cell);
      shown += !cell.hidden;
    }
    for (const part of all(".every section")) part.hidden = !one("details:not([hidden])", part);
    for (const row of all(".matrix tbody tr:not(.heading)")) {
      const places = all("td.cell", row);
      let any = false;
      for (const place of places) {
        const fit = fits(place);
        place.classList.toggle("faded", !fit);
        any ||= fit;
      }
      row.hidden = places.length > 0 && !any;
    }
    for (const table of all(".matrix")) table.hidden = !one("tbody tr:not(.heading):not([hidden])", table);
    one(".shown", form).textContent = shown === cells.length ? `${shown} cells` : `${shown} of ${cells.length} cells`;
    one("button[type=reset]", form).hidden = shown === cells.length;
  }
  if (form) {
    // The filters stay in sight, so what a link leads to has to stop below them.
    const clear = () => {
      const stays = getComputedStyle(form).position === "sticky";
      document.documentElement.style.scrollPaddingTop = stays ? `${form.offsetHeight + 8}px` : "";
    };
    new ResizeObserver(clear).observe(form);
    clear();
    form.addEventListener("input", filter);
    form.addEventListener("reset", () => setTimeout(filter));
    form.addEventListener("submit", (event) => event.preventDefault());
    filter();
  }

  // A cell's evidence opens where a link leads to it; Escape leads back to the matrix.
  let from = null;
  function reveal() {
    const cell = document.getElementById(decodeURIComponent(location.hash.slice(1)));
    const details = cell && cell.closest("details");
    if (!details) return;
    details.hidden = false;
    details.closest("section").hidden = false;
    details.open = true;
    const head = one("summary", details);
    head.focus({ preventScroll: true });
    head.scrollIntoView({ block: "start" });
  }
  addEventListener("hashchange", reveal);
  reveal();

  // On a live page the evidence is fetched when it is first looked at.
  async function load(details) {
    const place = one("[data-src]", details);
    if (!details.open || !place) return;
    const source = place.dataset.src;
    delete place.dataset.src;
    try {
      const answer = await fetch(source);
      if (!answer.ok) throw new Error(answer.statusText);
      place.innerHTML = await answer.text(); // rendered and escaped by our own templates
    } catch (error) {
      place.dataset.src = source;
      place.append(` (${error.message})`);
    }
  }
  for (const details of all(".every details")) {
    details.addEventListener("toggle", () => load(details));
    load(details);
  }

  function neighbour(link, key) {
    const cell = link.closest("td"), row = cell.parentElement;
    const step = { ArrowLeft: -1, ArrowUp: -1, ArrowRight: 1, ArrowDown: 1 }[key];
    if (key === "ArrowLeft" || key === "ArrowRight") {
      const links = all("td.cell a", row);
      return links[links.indexOf(link) + step];
    }
    const rows = all(".matrix tbody tr").filter((each) => !each.hidden && one("td.cell a", each));
    for (let at = rows.indexOf(row) + step; rows[at]; at += step) {
      const place = rows[at].children[cell.cellIndex];
      const found = (place && one("a", place)) || one("td.cell a", rows[at]);
      if (found) return found;
    }
  }
  addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    const typing = event.target.closest("input:not([type=checkbox]), select, textarea");
    if (event.key === "/" && form && !typing) {
      event.preventDefault();
      form.q.focus();
    } else if (event.key === "Escape" && from && !typing) {
      from.focus();
    } else if (event.key.startsWith("Arrow") && event.target.matches("td.cell a")) {
      const next = neighbour(event.target, event.key);
      if (next) {
        event.preventDefault();
        next.focus();
      }
    }
  });
  addEventListener("click", (event) => {
    const link = event.target.closest("td.cell a, .card a");
    if (link) {
      from = link;
      if (link.hash && link.hash === location.hash) reveal();
    }
    const button = event.target.closest(".command button");
    if (!button) return;
    const text = one("code", button.parentElement);
    getSelection().selectAllChildren(text);
    document.execCommand("copy"); // also where a page comes without TLS
    button.textContent = "copied";
    setTimeout(() => (button.textContent = "copy"), 1500);
  });
  const opened = [];
  addEventListener("beforeprint", () => {
    for (const details of all(".every details.wrong:not([open])")) {
      details.open = true;
      opened.push(details);
    }
  });
  addEventListener("afterprint", () => opened.splice(0).forEach((details) => (details.open = false)));
})();
