// A part of a page that is marked data-live is looked at again while somebody can see it and has not paused it.
"use strict";
const EACH_MS = 2000;
const find = (selector) => document.querySelector(selector);
const isPaused = () => find("#pause")?.getAttribute("aria-pressed") === "true";
const stale = (is) => { const said = find("#stale"); if (said) said.hidden = !is; };
const show = () => { const button = find("#pause"); if (button) button.hidden = false; };

setInterval(() => {
  const part = find("[data-live]");
  if (part && !document.hidden && !isPaused()) htmx.trigger(part, "look");
}, EACH_MS);
document.addEventListener("click", (event) => {
  if (event.target.id === "pause") event.target.setAttribute("aria-pressed", String(!isPaused()));
});
// An answer without the part is an error's page: what is shown stays.
document.addEventListener("htmx:beforeSwap", (event) => {
  if (!event.detail.requestConfig.elt.matches("[data-live]")) return;
  const isPart = event.detail.xhr.response.includes('id="live"');
  if (event.detail.xhr.status !== 204) event.detail.shouldSwap = isPart;
  stale(event.detail.xhr.status !== 204 && !isPart);
});
document.addEventListener("htmx:sendError", () => stale(true));
document.addEventListener("htmx:load", show);
document.addEventListener("DOMContentLoaded", show);
