"use strict";
(() => {
  // Pieces of the page that the server sends anew; whoever has the focus in one keeps it.
  const state = document.querySelector("[data-stream-state]");
  for (const place of document.querySelectorAll("[data-stream]")) {
    const source = new EventSource(place.dataset.stream);
    const say = (text) => { if (state) state.textContent = text; };
    source.onopen = () => say("live");
    source.onerror = () => say("connection lost, trying again");
    for (const part of place.querySelectorAll("[data-part]")) {
      source.addEventListener(part.dataset.part, (event) => {
        const active = document.activeElement;
        const held = part.contains(active) && active.id;
        if (part.contains(active) && active.matches("select, input")) return; // somebody is choosing
        const made = document.createElement("template");
        made.innerHTML = event.data; // rendered and escaped by our own templates
        if (made.innerHTML.trim() === part.innerHTML.trim()) return;
        const open = [...part.querySelectorAll("details[open]")].map((each) => each.id);
        part.replaceChildren(made.content);
        for (const id of open) if (id) document.getElementById(id)?.setAttribute("open", "");
        if (held) document.getElementById(held)?.focus();
      });
    }
    source.addEventListener("console", (event) => {
      const { board, text } = JSON.parse(event.data);
      let box = [...place.querySelectorAll("pre[data-board]")].find((each) => each.dataset.board === board);
      if (!box) {
        const title = document.createElement("h3");
        title.textContent = `Console of ${board}`;
        box = document.createElement("pre");
        box.dataset.board = board;
        box.className = "console";
        box.tabIndex = 0;
        place.querySelector("[data-consoles]").append(title, box);
      }
      const atEnd = box.scrollHeight - box.scrollTop - box.clientHeight < 40;
      box.textContent = (box.textContent + text).slice(-60000);
      if (atEnd) box.scrollTop = box.scrollHeight;
    });
    source.addEventListener("over", () => {
      source.close();
      location.reload();
    });
  }
  for (const place of document.querySelectorAll("[data-fetch]")) {
    fetch(place.dataset.fetch).then((answer) => (answer.ok ? answer.text() : "")).then((text) => {
      place.innerHTML = text; // as above
    });
  }
})();
