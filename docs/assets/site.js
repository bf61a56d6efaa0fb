// The search has a name, and what scrolls sideways can be scrolled by keyboard, also once a window is narrower.
const scrolls = new ResizeObserver((seen) => {
  for (const { target } of seen) {
    if (target.scrollWidth > target.clientWidth) target.tabIndex = 0;
    else target.removeAttribute("tabindex");
  }
});
document$.subscribe(() => {
  document.querySelector("[data-md-component=search]")?.setAttribute("aria-label", "Search");
  scrolls.disconnect();
  for (const part of document.querySelectorAll(".md-typeset__scrollwrap, .md-typeset pre > code")) scrolls.observe(part);
});
