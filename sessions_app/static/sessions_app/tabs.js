// Turns the panes of a panel into tabs. Without this script they stand one below the other, each under its heading.

export function makeTabs(panel) {
  const panes = [...panel.querySelectorAll(".pane")];
  const list = document.createElement("div");
  list.className = "tabs";
  list.setAttribute("role", "tablist");
  list.setAttribute("aria-label", panel.getAttribute("aria-label"));
  const tabs = panes.map((pane) => {
    const tab = document.createElement("button");
    tab.type = "button";
    tab.id = `${pane.id}-tab`;
    tab.textContent = pane.dataset.tab;
    tab.setAttribute("role", "tab");
    tab.setAttribute("aria-controls", pane.id);
    pane.setAttribute("role", "tabpanel");
    pane.setAttribute("aria-labelledby", tab.id);
    pane.querySelector("h2").classList.add("hidden-visually");
    return tab;
  });
  const choose = (n) => {
    tabs.forEach((tab, i) => {
      tab.setAttribute("aria-selected", String(i === n));
      tab.tabIndex = i === n ? 0 : -1;
      panes[i].hidden = i !== n;
    });
  };
  tabs.forEach((tab, n) => tab.addEventListener("click", () => choose(n)));
  list.addEventListener("keydown", (event) => {
    const at = tabs.indexOf(document.activeElement);
    const to = { ArrowRight: at + 1, ArrowLeft: at - 1, Home: 0, End: tabs.length - 1 }[event.key];
    if (to === undefined || event.shiftKey) return;
    event.preventDefault();
    const n = (to + tabs.length) % tabs.length;
    choose(n);
    tabs[n].focus();
  });
  list.append(...tabs);
  panel.prepend(list);
  panel.classList.add("panel-tabbed");
  choose(0);
}
